-- decline(id, delay) -> OK | GONE | BUSY
-- Returns a job that a worker cannot take now: it is due again after delay ms, which is before its
-- wake-up message would count as lost. Safe twice; it never delays a job.
local id, delay = ARGV[2], number(ARGV[3])
local job = load_job(id)
if not job or not RUNNING[job.state] then return 'GONE' end
if job.owner ~= '' and number(job.lease) > now then return 'BUSY' end
redis.call('ZADD', AGENDA, 'XX', 'LT', math.max(now + delay, number(job.not_before)), id)
return 'OK'
