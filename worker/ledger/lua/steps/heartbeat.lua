-- heartbeat(id, fence, lease, margin) -> OK | LOST
-- Extends the lease of a job, its place on the agenda and the slot of its message.
-- Safe twice; it never shortens any of them.
local id, fence, lease, margin = ARGV[2], ARGV[3], number(ARGV[4]), number(ARGV[5])
local job = load_owned(id, fence)
if not job then return 'LOST' end
require_type('zset', AGENDA, slots_key(job.account))
require_type('hash', META)
change(id, job, 'lease', math.max(number(job.lease), now + lease))
redis.call('ZADD', AGENDA, 'XX', 'GT', now + lease + margin, id)
if job.account ~= '' then
  local call = job['call:' .. job.turn]
  if call ~= '' then
    redis.call('ZADD', slots_key(job.account), 'XX', 'GT', now + lease + margin, call)
  end
end
if meta.suspect == id then
  redis.call('HSET', META, 'suspect_until', now + lease + margin)
end
return 'OK'
