-- paid_fact(id, call, name, value, name, value, ...) -> OK | KNOWN | UNKNOWN_CALL
-- Stores results of a paid message. It needs no fence, so that the result of a payment is never
-- lost; the call must be one of the job's. The first value of a fact stays. The fact `ended` frees
-- the message's slot; `accepted` says that the API has accepted the message. `progress` is not a fact:
-- it replaces the job's progress while it generates. Safe twice.
local id, call = ARGV[2], ARGV[3]
local job = load_job(id)
if not job or not has_call(job, call) then return 'UNKNOWN_CALL' end
local facts, is_accepted = {}, false
for at = 4, #ARGV, 2 do
  if ARGV[at] ~= 'progress' then
    facts[#facts + 1], facts[#facts + 2] = ARGV[at], ARGV[at + 1]
  elseif job.state == 'generating' and job['call:' .. job.turn] == call then
    change(id, job, 'progress', ARGV[at + 1], 'progress_at', now)
  end
  if ARGV[at] == 'ended' then require_endable(job, call) end
  is_accepted = is_accepted or ARGV[at] == 'accepted'
end
if is_accepted and job['fact:' .. call .. ':accepted'] == '' then widen_window(job.account) end
return record_paid_facts(id, job, call, facts) and 'OK' or 'KNOWN'
