-- share_session(id, fence) -> OK | LOST
-- The session that a job of a shared batch has opened is the batch's from now on. Safe twice.
local id, fence = ARGV[2], ARGV[3]
local job = load_job(id)
if not job or job.owner == '' or job.fence ~= fence then return 'LOST' end
for _, name in ipairs(SESSION) do
  redis.call('HSET', batch_key(job.batch), 'shared:' .. name, job[name])
end
take_session(id, job)
return 'OK'
