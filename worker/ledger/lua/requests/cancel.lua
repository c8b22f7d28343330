-- cancel(id, ...) -> {verdict, ...}: CANCELLED | REQUESTED | ENDED | GONE | UNREADABLE
-- Ends a held job, and one that no worker owns and that has not paid. For any other job the request
-- is noted: begin_paid then refuses to pay, and what is paid continues to its clip. Safe twice.
local out = {}
for at = 2, #ARGV do
  local job, why = load_job(ARGV[at])
  local verdict = job and request_cancel(ARGV[at], job) or why and 'UNREADABLE' or 'GONE'
  if verdict == 'CANCELLED' and job.state_before == 'queued' then
    redis.call('LREM', flow_key(job.flow), 1, ARGV[at])
  end
  out[#out + 1] = verdict
end
return out
