-- withdraw_intent(id, call, why) -> OK | GONE | REFUSED
-- Withdraws the intent of a message that cannot have been charged. It needs no fence but the call id,
-- because a worker can find that out after it has lost its lease, and even after a person has decided to
-- pay again. A job that is held because of this message continues; the end of one that has ended is reported
-- again. Safe twice.
local CANNOT_HAVE_BEEN_CHARGED = {
  not_durable = true,      -- the intent was not confirmed, so nothing was sent
  not_sent = true,         -- no byte of it was sent
  never_sent = true,       -- its attempt's entry in the journal is that of another call, or of nobody
  not_charged = true,      -- its sender has marked it so in the journal
  token_refused = true, session_not_found = true, out_of_credits = true, rate_limited = true,
  file_refused = true, plan_refused = true, request_refused = true  -- the direct reply
}
-- Not all of UNDECIDED: a job held as `question` has read a reply, so its message was charged.
local HELD_FOR_MESSAGE = {outcome_unknown = true, session_lost = true}
local id, call, why = ARGV[2], ARGV[3], ARGV[4]
if not CANNOT_HAVE_BEEN_CHARGED[why] then return 'REFUSED' end
local job = load_job(id)
if not job then return 'GONE' end
local turn = turn_of(job, call)
if not turn then return job['released:' .. call] ~= '' and 'OK' or 'REFUSED' end
require_writable(id, job)
withdraw(id, job, turn, why)
forget_last_message(job['session:' .. turn], call)
if ENDS[job.state] then
  notify_again(id, job)
elseif turn == number(job.turn) and job.state == 'held' and HELD_FOR_MESSAGE[job.reason] then
  redis.call('HSET', job_key(id), 'not_before', 0, 'crashes', 0,
    'message', '', 'remedy', '')
  redis.call('HDEL', job_key(id), 'resume', 'readings', 'last_reading')
  resume_job(id, job, 'preparing')
end
return 'OK'
