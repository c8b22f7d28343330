-- retry(id) -> OK | NOT_FAILED | GONE | UNREADABLE
-- Continues a failed job at the first stage whose result is missing. It pays nothing twice: a turn that
-- has a message continues after the payment. Safe twice: the second run finds a job that has not failed.
local id = ARGV[2]
local job, why = load_job(id)
if why then return 'UNREADABLE' end
if not job then return 'GONE' end
if job.state ~= 'failed' then return 'NOT_FAILED' end
require_writable(id, job)
local to = 'preparing'
if turn_is_paid(job) then
  if job.draft == '' then to = 'settling' else to = 'rendering' end
end
redis.call('HDEL', job_key(id), 'render_id', 'polls', 'render_tries', 'source_url', 'finished_at',
  'render_submitted', 'tries', 'tries_of', 'trouble', 'message', 'remedy', 'adopted')
redis.call('HSET', job_key(id), 'not_before', 0, 'crashes', 0)
resume_job(id, job, to)
return 'OK'
