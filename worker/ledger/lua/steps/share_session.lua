-- share_session(id, fence) -> OK | LOST
-- Shares the session that a job of a shared batch has opened with the batch. Safe twice.
local id, fence = ARGV[2], ARGV[3]
local job = load_owned(id, fence)
if not job then return 'LOST' end
require_type('hash', session_key(job.session_id))
require_type('zset', session_queue_key(job.session_id))
for _, name in ipairs(SESSION_FIELDS) do
  redis.call('HSET', batch_key(job.batch), 'shared:' .. name, job[name])
end
acquire_session(id, job)
return 'OK'
