-- balance(account, read_at, available, frozen, total) -> OK | STALE
-- Records a balance whose reading began at read_at. Its figures include the charges of messages
-- that had ended by then, so their reservations are dropped; those of running messages remain.
--   base = available + the part of `frozen` that our reservations explain. Reservations are checked
--          against it
-- A reading shows that the token works, so a refused token is cleared.
local account, read_at, available, frozen, total =
  ARGV[2], number(ARGV[3]), number(ARGV[4]), number(ARGV[5]), number(ARGV[6])
local key = account_key(account)
local PAGE = 1000  -- calls in one command
require_type('hash', key, reserved_key(account))
require_type('zset', ended_key(account), OUTBOX)
require_type('set', 'accounts:{' .. ns .. '}')
if number(redis.call('HGET', key, 'read_at')) > read_at then return 'STALE' end
redis.call('SADD', 'accounts:{' .. ns .. '}', account)

-- The reserved messages whose charge is in this balance.
local included = {}
local ended = ended_key(account)
local over, spent = redis.call('ZRANGEBYSCORE', ended, '-inf', '(' .. read_at), 0
for at = 1, #over, PAGE do
  local calls = {unpack(over, at, math.min(at + PAGE - 1, #over))}
  for place, cost in ipairs(redis.call('HMGET', reserved_key(account), unpack(calls))) do
    if cost then
      included[#included + 1] = {call = calls[place], cost = tonumber(cost)}
      spent = spent + tonumber(cost)
    end
  end
  redis.call('HDEL', reserved_key(account), unpack(calls))
  redis.call('ZREM', ended, unpack(calls))
end
if spent > 0 then redis.call('HINCRBYFLOAT', key, 'spent', spent) end
local reserved, outstanding = 0, 0
for _, cost in ipairs(redis.call('HVALS', reserved_key(account))) do
  reserved = reserved + tonumber(cost)
  outstanding = outstanding + 1
end
local base = available + math.min(frozen, reserved)
local refused = redis.call('HGET', key, 'refused_at_base')
if refused and base > tonumber(refused) then redis.call('HDEL', key, 'refused_at_base') end

-- The cost of a clip is the difference of two balances. It is exact between two readings without a
-- message in flight, of which the first is the reference. Otherwise it is a lower bound: what was
-- charged since the reference was charged for the messages in `mark_settled`, or for outstanding ones.
local before, reference, estimate, exact =
  unpack(redis.call('HMGET', key, 'total', 'mark_total', 'estimate', 'mark_exact'))
if before and total > tonumber(before) then
  -- Credits were added, which hides the charges: they are measured from this reading on.
  reference, exact = total, '0'
  redis.call('HSET', key, 'mark_total', total, 'mark_exact', 0, 'mark_settled', 0)
elseif reference then
  local count = redis.call('HINCRBY', key, 'mark_settled', #included)
  local charged = tonumber(reference) - total
  local known = number(estimate)
  if charged > 0 and count + outstanding > 0 then
    local price = charged / (count + outstanding)
    if price > known or (outstanding == 0 and exact == '1') then
      redis.call('HSET', key, 'estimate', price)
    end
  end
  if charged > 0 and count == 1 and #included == 1 and outstanding == 0 and exact == '1' then
    record_charge(account, included[1].call, included[1].cost, charged)
  end
end
if outstanding == 0 then
  redis.call('HSET', key, 'mark_total', total, 'mark_exact', 1, 'mark_settled', 0)
end
redis.call('HSET', key, 'read_at', read_at, 'available', available, 'frozen', frozen,
  'total', total, 'reserved', reserved, 'base', base)
redis.call('HDEL', key, 'distrust')
return 'OK'
