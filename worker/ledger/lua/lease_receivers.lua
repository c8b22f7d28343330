-- lease_receivers(at_once, lease) -> {receiver, ...}
-- The receivers to talk to now, so that at most `at_once` are talked to. Each is looked at again
-- after the lease, should its worker die. A second run gives out others.
local at_once, lease = number(ARGV[2]), number(ARGV[3])
redis.call('ZREMRANGEBYSCORE', RINGING, '-inf', now)
local free = at_once - redis.call('ZCARD', RINGING)
if free <= 0 then return {} end
local due = redis.call('ZRANGEBYSCORE', RECEIVERS, '-inf', now, 'LIMIT', 0, free)
for _, receiver in ipairs(due) do
  redis.call('ZADD', RECEIVERS, now + lease, receiver)
  redis.call('ZADD', RINGING, now + lease, receiver)
end
return due
