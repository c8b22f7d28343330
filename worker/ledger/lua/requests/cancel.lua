-- cancel(spare_paid, id, ...) -> {verdict, ...}: CANCELLED | REQUESTED | CONTINUES | PAID |
--   ENDED | GONE | UNREADABLE
-- Ends a held job, and one that no worker owns and that has not paid. For any other job the request
-- is noted: begin_paid then refuses to pay, and a job that has paid CONTINUES to its clip. With
-- spare_paid, a held job that has paid stays held, because to cancel it would give up its clip. Safe
-- twice.
local out = {}
local spare_paid = ARGV[2] == '1'
for at = 3, #ARGV do
  local job, why = load_job(ARGV[at])
  local verdict
  if job then require_writable(ARGV[at], job) end
  if job and spare_paid and job.state == 'held' and ever_paid(job) then
    verdict = 'PAID'
  else
    verdict = job and request_cancel(ARGV[at], job) or why and 'UNREADABLE' or 'GONE'
  end
  if verdict == 'CANCELLED' and job.state_before == 'queued' then
    redis.call('LREM', flow_key(job.flow), 1, ARGV[at])
  end
  out[#out + 1] = verdict
end
return out
