-- webhook_sent(name, delay, why) -> OK | GONE
-- Records a try to send a message. It is deleted if it was received (delay < 0, why is empty) or is
-- given up (delay < 0; the record of its job or batch stores why); else it is due after delay ms,
-- and its path is paused. All paths of a receiver are paused only if nothing was received there for
-- several tries. Safe twice.
local name, delay, why = ARGV[2], number(ARGV[3]), ARGV[4]
local url, receiver = unpack(redis.call('HMGET', webhook_key(name), 'url', 'receiver'))
if not receiver then return 'GONE' end
require_type('zset', receiver_queue_key(receiver), WEBHOOKS_BY_AGE)
require_type('hash', META, failures_key(receiver))
url = url or ''
if delay >= 0 then
  note_failure(receiver, webhook_path(url), 1)
  note_failure(receiver, ALL_PATHS, FAILURES_TO_PAUSE_ALL)
  redis.call('HSET', failures_key(receiver), ALL_PATHS .. ':error', why)
  redis.call('HINCRBY', webhook_key(name), 'tries', 1)
  redis.call('HSET', webhook_key(name), 'error', why)
  redis.call('ZADD', receiver_queue_key(receiver), 'XX', now + delay, name)
  return 'OK'
end
if why ~= '' then
  give_up_webhook(name, why)
  return 'OK'
end
note_success(receiver, webhook_path(url))
note_success(receiver, ALL_PATHS)
delete_webhook(receiver, name)
return 'OK'
