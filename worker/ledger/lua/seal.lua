-- seal(batch) -> OK
-- The manifest of a batch is wholly in. If nothing of it is open any more, it has ended. Safe twice.
redis.call('HSET', batch_key(ARGV[2]), 'sealed', 1)
end_batch_if_done(ARGV[2])
return 'OK'
