-- rate_limited(account, ms) -> until
-- The API said 429: the account rests for everyone. After the first pause one message tries once
-- more; where that is refused too, the messages in flight are halved at every further one.
-- Safe twice: what comes in during a pause belongs to the refusal that began it.
local CALM = 300000  -- ms after a pause from which a refusal counts as a first one again
local account, ms = ARGV[2], number(ARGV[3])
local key = account_key(account)
local cooling, refusals, window =
  unpack(redis.call('HMGET', key, 'cooling_until', 'refusals', 'window'))
cooling, refusals = number(cooling), number(refusals)
if cooling <= now then
  if now - cooling > CALM then refusals = 0 end
  refusals = refusals + 1
  if refusals > 1 then
    local halved = math.max(1, math.floor((tonumber(window) or FIRST_WINDOW) / 2))
    redis.call('HSET', key, 'window', halved, 'threshold', halved)
  end
  redis.call('HSET', key, 'refusals', refusals)
  redis.call('HDEL', key, 'trying_until')
end
local till = math.max(now + ms, cooling)
redis.call('HSET', key, 'cooling_until', till)
return till
