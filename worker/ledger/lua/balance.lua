-- balance(account, read_at, available, frozen, total) -> OK | STALE
-- A reading of the balance that began at read_at. Reservations of messages that had ended by
-- then are in the figures already and fall away; those of running ones stand beside them.
--   base = available + what of `frozen` is ours: the money our reservations are held against
local account, read_at, available, frozen, total =
  ARGV[2], number(ARGV[3]), number(ARGV[4]), number(ARGV[5]), number(ARGV[6])
local key = account_key(account)
if number(redis.call('HGET', key, 'read_at')) > read_at then return 'STALE' end
redis.call('SADD', 'accounts:{' .. ns .. '}', account)

local ended = ended_key(account)
for _, call in ipairs(redis.call('ZRANGEBYSCORE', ended, '-inf', '(' .. read_at)) do
  local cost = redis.call('HGET', reserved_key(account), call)
  if cost then
    redis.call('HDEL', reserved_key(account), call)
    redis.call('HINCRBYFLOAT', key, 'spent', cost)
  end
  redis.call('ZREM', ended, call)
end
local reserved = 0
for _, cost in ipairs(redis.call('HVALS', reserved_key(account))) do
  reserved = reserved + tonumber(cost)
end
local base = available + math.min(frozen, reserved)
local refused = redis.call('HGET', key, 'refused_at_base')
if refused and base > tonumber(refused) then redis.call('HDEL', key, 'refused_at_base') end
redis.call('HSET', key, 'read_at', read_at, 'available', available, 'frozen', frozen,
  'total', total, 'reserved', reserved, 'base', base)
return 'OK'
