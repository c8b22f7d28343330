-- grow_window(account) -> OK
-- Widens the window of an account again, by one message for each minute after its last pause without
-- a 429, up to what it was before the 429s. This does not depend on accepted messages.
-- Safe twice. The field `recovered_at` holds the time of the last growth.
local GROW_EVERY = 60000  -- ms
local key = account_key(ARGV[2])
local window, before, cooling, grown =
  unpack(redis.call('HMGET', key, 'window', 'window_before', 'cooling_until', 'recovered_at'))
if not before then return 'OK' end
if now - math.max(number(cooling), number(grown)) < GROW_EVERY then return 'OK' end
window = math.min(tonumber(before), math.floor(tonumber(window) or FIRST_WINDOW) + 1)
window = math.max(window, tonumber(redis.call('HGET', key, 'window')) or 0)
redis.call('HSET', key, 'window', window, 'recovered_at', now)
if window >= tonumber(before) then redis.call('HDEL', key, 'window_before', 'recovered_at') end
return 'OK'
