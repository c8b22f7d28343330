-- flow_gate(batch, shut, pilot) -> OK | GONE
-- Pauses (shut = 1) or resumes (shut = 0) a batch by deactivating or activating its flows, one for
-- each priority, however many jobs wait. Resuming ends a pilot, or begins one of `pilot` jobs, unless
-- it is ''. The caller's decision replaces a pause for an unknown outcome. Safe twice.
local batch, shut, pilot = ARGV[2], ARGV[3], ARGV[4]
require_type('hash', META, batch_key(batch))
require_type('zset', FLOWS)
if redis.call('EXISTS', batch_key(batch)) == 0 then return 'GONE' end
redis.call('HDEL', batch_key(batch), 'blocked_by')
if shut == '1' then
  pause_batch(batch)
else
  if pilot == '' then
    redis.call('HDEL', batch_key(batch), 'pilot')
  else
    redis.call('HSET', batch_key(batch), 'pilot', pilot)
  end
  resume_batch(batch)
end
return 'OK'
