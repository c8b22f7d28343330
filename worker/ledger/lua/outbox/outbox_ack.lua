-- outbox_ack(entry, revision, entry, revision, ...) -> OK
-- Removes entries of the outbox after their delivery. An entry whose job has a newer revision stays,
-- so that the newest state is delivered too. If the newest state was delivered first, the entry is put
-- back, because this delivery has overwritten it. Safe twice.
local delivered = {}
for at = 2, #ARGV, 2 do
  local entry, revision = ARGV[at], ARGV[at + 1]
  local current = redis.pcall('HGET', job_key(string.match(entry, '^job:(.*)$')), 'revision')
  if type(current) == 'string' and current ~= revision then
    redis.call('ZADD', OUTBOX, 'NX', 0, entry)
  else
    delivered[#delivered + 1] = entry
  end
end
if #delivered > 0 then redis.call('ZREM', OUTBOX, unpack(delivered)) end
return 'OK'
