-- hook_due(receiver) -> {} | {name, field, value, ...}
-- The oldest message that a receiver is to be sent now. Changes nothing but what has no message.
local receiver = ARGV[2]
while true do
  local name = redis.call('ZRANGEBYSCORE', hooks_key(receiver), '-inf', now, 'LIMIT', 0, 1)[1]
  if not name then return {} end
  local fields = redis.call('HGETALL', hook_key(name))
  if #fields > 0 then return {name, unpack(fields)} end
  drop_hook(receiver, name)
end
