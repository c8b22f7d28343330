-- paid_fact(id, call, name, value, name, value, ...) -> OK | KNOWN | UNKNOWN_CALL
-- Stores results of a paid message. It needs no fence, so that the result of a payment is never
-- lost; the call must be one of the job's. The first value of a fact stays. The fact `ended` frees
-- the message's slot; `accepted` says that the API took the message. Safe twice.
local id, call = ARGV[2], ARGV[3]
local job = load_job(id)
if not job then return 'UNKNOWN_CALL' end
local is_own = false
for turn = 1, number(job.turn) do
  if job['call:' .. turn] == call then is_own = true end
end
if not is_own then return 'UNKNOWN_CALL' end
require_payable(job)
local verdict = 'KNOWN'
for at = 4, #ARGV, 2 do
  local name, value = ARGV[at], ARGV[at + 1]
  if name == 'ended' then end_call(job, call) end
  if redis.call('HSETNX', job_key(id), 'fact:' .. call .. ':' .. name, value) == 1 then
    if name == 'accepted' then widen_window(job.account) end
    verdict = 'OK'
  end
end
return verdict
