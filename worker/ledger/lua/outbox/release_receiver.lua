-- release_receiver(receiver, rest) -> OK
-- Ends the lease of a webhook receiver. It can be leased again when its next message is due, but not
-- before rest ms have passed, nor before the pause of all its paths ends. Safe twice.
local receiver, rest = ARGV[2], number(ARGV[3])
require_type('zset', LEASED, RECEIVERS, receiver_queue_key(receiver))
require_type('hash', failures_key(receiver))
redis.call('ZREM', LEASED, receiver)
local next_one = redis.call('ZRANGE', receiver_queue_key(receiver), 0, 0, 'WITHSCORES')
if #next_one == 0 then
  redis.call('ZREM', RECEIVERS, receiver)
  redis.call('DEL', failures_key(receiver))
else
  local earliest = math.max(now + rest, paused_until(receiver, ALL_PATHS))
  redis.call('ZADD', RECEIVERS, math.max(earliest, number(next_one[2])), receiver)
end
return 'OK'
