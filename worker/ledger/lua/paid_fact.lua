-- paid_fact(id, call, name, value) -> OK | KNOWN | UNKNOWN_CALL
-- A result of money that was spent. It needs no fence, because it is never thrown away, only a
-- call that is this job's own; the first word stands. The fact «ended» frees the call's slot,
-- the fact «accepted» says that the API bears this message.
local id, call, name, value = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local job = load_job(id)
if not job then return 'UNKNOWN_CALL' end
local mine = false
for turn = 1, number(job.turn) do
  if job['call:' .. turn] == call then mine = true end
end
if not mine then return 'UNKNOWN_CALL' end
if name == 'ended' then end_call(job, call) end
if redis.call('HSETNX', job_key(id), 'fact:' .. call .. ':' .. name, value) == 1 then
  if name == 'accepted' then widen_window(job.account) end
  return 'OK'
end
return 'KNOWN'
