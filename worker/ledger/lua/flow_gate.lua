-- flow_gate(batch, shut) -> OK | GONE
-- Pauses (shut = 1) or resumes (shut = 0) a batch by taking one member for each of its
-- priorities out of the flows, or putting it back, however many jobs wait. To resume a batch
-- ends its pilot. A person's word counts from then on, whatever had paused it. Safe twice.
local batch, shut = ARGV[2], ARGV[3]
if redis.call('EXISTS', batch_key(batch)) == 0 then return 'GONE' end
redis.call('HDEL', batch_key(batch), 'blocked_by')
if shut == '1' then
  pause_batch(batch)
else
  redis.call('HDEL', batch_key(batch), 'pilot')
  resume_batch(batch)
end
return 'OK'
