-- lease_receivers(limit, lease) -> {receiver, ...}
-- The receivers to talk to now, so that at most `limit` are talked to. Each is looked at again
-- after the lease, should its worker die. A second run gives out others.
local limit, lease = number(ARGV[2]), number(ARGV[3])
redis.call('ZREMRANGEBYSCORE', LEASED, '-inf', now)
local free = limit - redis.call('ZCARD', LEASED)
if free <= 0 then return {} end
local due = redis.call('ZRANGEBYSCORE', RECEIVERS, '-inf', now, 'LIMIT', 0, free)
for _, receiver in ipairs(due) do
  redis.call('ZADD', RECEIVERS, now + lease, receiver)
  redis.call('ZADD', LEASED, now + lease, receiver)
end
return due
