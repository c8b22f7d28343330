-- cancel(id, ...) -> {verdict, ...}: CANCELLED | REQUESTED | ENDED | GONE | UNREADABLE
-- A job that nobody works on and that has not paid ends at once, and so does a held one: a
-- person has decided. For the rest a request is noted: begin_paid then refuses; what is paid
-- goes on to its clip. Safe twice.
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
