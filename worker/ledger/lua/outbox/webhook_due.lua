-- webhook_due(receiver) -> {} | {name, field, value, ...}
-- The oldest message that is due for a receiver. Entries without a message are deleted, messages
-- that cannot be read are set aside, messages that are a day old are given up, and messages to a path
-- that is paused wait for its end: at most 100 a call, so that a backlog does not block Redis. None is
-- due while all paths are paused.
local receiver = ARGV[2]
local queue = receiver_queue_key(receiver)

local function is_readable(name)
  local event, kind, about, url, at, tries =
    unpack(redis.pcall('HMGET', webhook_key(name), 'event', 'kind', 'about', 'url', 'at', 'tries'))
  return event and kind and about and url and is_integer(at or '') and is_integer(tries or '')
end

if paused_until(receiver, ALL_PATHS) > now then return {} end
for _ = 1, 100 do
  local name = redis.call('ZRANGEBYSCORE', queue, '-inf', now, 'LIMIT', 0, 1)[1]
  if not name then return {} end
  if is_readable(name) then
    local url, at = unpack(redis.call('HMGET', webhook_key(name), 'url', 'at'))
    local paused = paused_until(receiver, webhook_path(url))
    if number(at) <= now - WEBHOOK_MAX_AGE then
      local last = redis.call('HGET', webhook_key(name), 'error')
      give_up_webhook(name, 'not delivered within a day' .. (last and ': ' .. last or ''))
    elseif paused <= now then
      return {name, unpack(redis.call('HGETALL', webhook_key(name)))}
    else
      redis.call('ZADD', queue, paused, name)
    end
  elseif redis.call('EXISTS', webhook_key(name)) == 1 then
    set_aside(webhook_key(name), 'its key holds no webhook message')
    dequeue_webhook(receiver, name)
  else
    delete_webhook(receiver, name)
  end
end
return {}
