-- rate_limited(account, ms) -> until
-- Pauses an account for all workers after a 429. After the first pause one message tests whether
-- the API accepts messages again; each further 429 halves the messages in flight.
-- Safe twice: a 429 during a pause belongs to the one that began it.
local FORGET_AFTER = 300000  -- ms after a pause; a later 429 counts as a first one
local account, ms = ARGV[2], number(ARGV[3])
local key = account_key(account)
local cooling, refusals, window =
  unpack(redis.call('HMGET', key, 'cooling_until', 'refusals', 'window'))
cooling, refusals = number(cooling), number(refusals)
if cooling <= now then
  if now - cooling > FORGET_AFTER then refusals = 0 end
  refusals = refusals + 1
  if refusals > 1 then
    local halved = math.max(1, math.floor((tonumber(window) or FIRST_WINDOW) / 2))
    redis.call('HSETNX', key, 'window_before', tonumber(window) or FIRST_WINDOW)
    redis.call('HSET', key, 'window', halved, 'threshold', halved)
  end
  redis.call('HSET', key, 'refusals', refusals)
  redis.call('HDEL', key, 'trying_until')
end
local pause_end = math.max(now + ms, cooling)
redis.call('HSET', key, 'cooling_until', pause_end)
return pause_end
