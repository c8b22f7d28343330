-- outbox_ack(entry, revision, delay) -> OK | NEWER
-- Removes an entry of the outbox after its delivery (delay < 0), or puts it off by delay ms. An
-- entry whose job has a newer revision stays, so that the newest state is delivered too; it is put
-- back if that was delivered first, as this delivery has overwritten it.
-- Safe twice.
local entry, revision, delay = ARGV[2], ARGV[3], number(ARGV[4])
local id = string.match(entry, '^job:(.*)$')
if delay >= 0 then
  redis.call('ZADD', OUTBOX, 'XX', now + delay, entry)
  return 'OK'
end
local current = redis.pcall('HGET', job_key(id), 'revision')
if type(current) == 'string' and current ~= revision then
  redis.call('ZADD', OUTBOX, 'NX', now, entry)
  return 'NEWER'
end
redis.call('ZREM', OUTBOX, entry)
return 'OK'
