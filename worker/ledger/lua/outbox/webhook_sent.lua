-- webhook_sent(name, delay, why) -> OK | GONE
-- Records a try to send a message. It is deleted if it was received (delay < 0, why is empty) or is
-- given up (delay < 0; the record of its job or batch stores why); else it is due after delay ms.
-- Safe twice.
local name, delay, why = ARGV[2], number(ARGV[3]), ARGV[4]
local kind, about, receiver =
  unpack(redis.call('HMGET', webhook_key(name), 'kind', 'about', 'receiver'))
if not receiver then return 'GONE' end
if delay >= 0 then
  redis.call('HINCRBY', webhook_key(name), 'tries', 1)
  redis.call('ZADD', receiver_queue_key(receiver), 'XX', now + delay, name)
  return 'OK'
end
local record = kind == 'batch' and batch_key(about) or job_key(about)
if why ~= '' and redis.call('EXISTS', record) == 1 then
  redis.pcall('HSET', record, 'webhook_error', why)
end
delete_webhook(receiver, name)
return 'OK'
