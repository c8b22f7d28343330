-- cancel(id) -> CANCELLED | REQUESTED | ENDED | GONE
-- A job that nobody works on and that has not paid ends at once, and so does a held one: a
-- person has decided. For the rest a request is noted: begin_paid then refuses; what is paid
-- goes on to its clip. Safe twice.
local id = ARGV[2]
local job = load_job(id)
if not job then return 'GONE' end
if ENDS[job.state] then return 'ENDED' end
redis.call('HSET', job_key(id), 'cancel_requested', 1)
local idle = job.owner == '' and not ever_paid(job)
if job.state ~= 'held' and not idle then return 'REQUESTED' end
if job.state == 'queued' then redis.call('LREM', flow_key(job.flow), 1, id) end
unschedule(id)
end_call(job, job['call:' .. job.turn])
move(id, job, 'cancelled')
redis.call('HSET', job_key(id), 'finished_at', now)
tell(id)
return 'CANCELLED'
