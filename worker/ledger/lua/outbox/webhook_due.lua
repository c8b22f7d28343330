-- webhook_due(receiver) -> {} | {name, field, value, ...}
-- The oldest message that is due for a receiver. Entries without a message are deleted, and
-- messages that cannot be read are set aside.
local receiver = ARGV[2]
local queue = receiver_queue_key(receiver)

local function is_readable(name)
  local event, kind, about, url, at, tries =
    unpack(redis.pcall('HMGET', webhook_key(name), 'event', 'kind', 'about', 'url', 'at', 'tries'))
  return event and kind and about and url and is_integer(at or '') and is_integer(tries or '')
end

while true do
  local name = redis.call('ZRANGEBYSCORE', queue, '-inf', now, 'LIMIT', 0, 1)[1]
  if not name then return {} end
  if is_readable(name) then return {name, unpack(redis.call('HGETALL', webhook_key(name)))} end
  if redis.call('EXISTS', webhook_key(name)) == 1 then
    set_aside(webhook_key(name), 'its key holds no webhook message')
    dequeue_webhook(receiver, name)
  else
    delete_webhook(receiver, name)
  end
end
