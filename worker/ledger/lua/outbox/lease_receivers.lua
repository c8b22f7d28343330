-- lease_receivers(limit, lease) -> {receiver, ...}
-- Leases webhook receivers with due messages, while fewer than `limit` are leased. A receiver whose
-- worker died is leased again after `lease` ms. A second run leases others. Before that, messages that
-- are a day old are given up, a limited number in each call.
local limit, lease = number(ARGV[2]), number(ARGV[3])
require_type('zset', LEASED, RECEIVERS, WEBHOOKS_BY_AGE)
require_type('hash', META)
expire_webhooks(500)
redis.call('ZREMRANGEBYSCORE', LEASED, '-inf', now)
local free = limit - redis.call('ZCARD', LEASED)
if free <= 0 then return {} end
local due = redis.call('ZRANGEBYSCORE', RECEIVERS, '-inf', now, 'LIMIT', 0, free)
for _, receiver in ipairs(due) do
  redis.call('ZADD', RECEIVERS, now + lease, receiver)
  redis.call('ZADD', LEASED, now + lease, receiver)
end
return due
