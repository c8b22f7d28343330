-- decline(id, delay) -> OK | GONE | BUSY
-- A worker that takes nothing now was handed this job: it comes up again after so many ms, not
-- only when its hint counts as lost. Safe twice, and puts nothing off.
local id, delay = ARGV[2], number(ARGV[3])
local job = load_job(id)
if not job or not RUNNING[job.state] then return 'GONE' end
if job.owner ~= '' and number(job.lease) > now then return 'BUSY' end
redis.call('ZADD', AGENDA, 'XX', 'LT', math.max(now + delay, number(job.not_before)), id)
return 'OK'
