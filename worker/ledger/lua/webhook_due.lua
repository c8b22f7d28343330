-- webhook_due(receiver) -> {} | {name, field, value, ...}
-- The oldest message that a receiver is to be sent now. Changes nothing but what has no message; one
-- that makes no sense is set aside.
local receiver = ARGV[2]

local function makes_sense(name)
  local event, kind, about, url, at, tries =
    unpack(redis.pcall('HMGET', webhook_key(name), 'event', 'kind', 'about', 'url', 'at', 'tries'))
  return event and kind and about and url and is_integer(at or '') and is_integer(tries or '')
end

while true do
  local name = redis.call('ZRANGEBYSCORE', receiver_queue_key(receiver), '-inf', now, 'LIMIT', 0, 1)[1]
  if not name then return {} end
  if makes_sense(name) then return {name, unpack(redis.call('HGETALL', webhook_key(name)))} end
  if redis.call('EXISTS', webhook_key(name)) == 1 then
    set_aside(webhook_key(name), 'it is no message')
    dequeue_webhook(receiver, name)
  else
    delete_webhook(receiver, name)
  end
end
