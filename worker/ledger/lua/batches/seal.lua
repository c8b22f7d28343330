-- seal(batch, submission) -> OK
-- Marks the manifest of a batch as complete, by a submission of it, and ends the batch if no job is open.
-- Safe twice.
require_type('hash', META, batch_key(ARGV[2]))
require_type('zset', RECEIVERS, LEASED, WEBHOOKS_BY_AGE)
local url = redis.call('HGET', batch_key(ARGV[2]), 'webhook')
if url and url ~= '' then
  require_type('zset', receiver_queue_key(receiver_of(url)))
  require_type('hash', failures_key(receiver_of(url)))
end
redis.call('HSET', batch_key(ARGV[2]), 'sealed', 1, 'sealed_by', ARGV[3])
end_batch_if_done(ARGV[2])
return 'OK'
