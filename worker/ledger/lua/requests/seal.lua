-- seal(batch) -> OK
-- Marks the manifest of a batch as complete, and ends the batch if no job is open. Safe twice.
redis.call('HSET', batch_key(ARGV[2]), 'sealed', 1)
end_batch_if_done(ARGV[2])
return 'OK'
