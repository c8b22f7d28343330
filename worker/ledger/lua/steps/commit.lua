-- commit(id, fence, nonce, state, delay, reason, resume, outcome, next, lease, margin, field, value, ...)
-- Ends a step: writes facts, the next state and when it is due, for the owner alone.
--   delay   ms until the next step         reason   why held or failed, else ''
--   resume  where a held job continues     outcome  of the current turn's message, '' to leave it
--   next    '', or the nonce of a claim for the same owner, by which it continues with the next stage
--           without a wake-up message; `lease` and `margin` in ms are those of that claim. A lease
--           of which more than half is left is kept, and the heartbeats extend it.
-- Fields `fact:<call>:<name>` are results of one paid message, which are stored also if the lease is
-- lost, as by paid_fact.
-- -> LOST | OK | CLAIMED {record} now.  Safe twice: the nonce of the last commit is stored. A job that does
-- not enter the state that the step requested is not claimed.
local id, fence, nonce, state, delay, reason, resume, outcome =
  ARGV[2], ARGV[3], ARGV[4], ARGV[5], number(ARGV[6]), ARGV[7], ARGV[8], ARGV[9]
local next_nonce, lease, margin = ARGV[10], number(ARGV[11]), number(ARGV[12])
local FIRST_FACT = 13
local job = load_job(id)
if not job then return {'LOST'} end
if job.committed == nonce then
  if next_nonce ~= '' and job.owner ~= '' and job.nonce == next_nonce then
    return {'CLAIMED', flat_list(job), now}
  end
  return {'OK'}
end
local changed, paid_facts, paid_call = {}, {}, nil
for at = FIRST_FACT, #ARGV, 2 do
  local call, name = string.match(ARGV[at], '^fact:(.+):(%w+)$')
  if not call then
    changed[ARGV[at]] = ARGV[at + 1]
  elseif has_call(job, call) then
    paid_call = call
    paid_facts[#paid_facts + 1], paid_facts[#paid_facts + 2] = name, ARGV[at + 1]
  end
end
if not is_owned(job, fence) then
  if paid_call then
    require_endable(job, paid_call)
    record_paid_facts(id, job, paid_call, paid_facts)
  end
  return {'LOST'}
end

-- Updates two means over recent clips, in ms: the time in preparing and generating, in which a job counts
-- among the admitted ones, and the time in all stages. They are means over all of the first clips, and
-- then rolling means over about as many.
local MEAN_OVER = 32
local function update_pace(pace)
  local admitted, whole = 0, 0
  for running, _ in pairs(RUNNING) do
    local spent = number(job['ms:' .. running])
    whole = whole + spent
    if running == 'preparing' or running == 'generating' then admitted = admitted + spent end
  end
  local clips, mean_admitted, mean_whole = unpack(pace)
  local weight = math.min(number(clips) + 1, MEAN_OVER)
  redis.call('HSET', PACE, 'clips', number(clips) + 1,
    'place_ms', number(mean_admitted) + (admitted - number(mean_admitted)) / weight,
    'clip_ms', number(mean_whole) + (whole - number(mean_whole)) / weight)
end

-- 1. Decide which state follows: the one that the step asked for, with three exceptions.
local asked = state
local blocker = changed.blocked_by or job.blocked_by
if job.cancel_requested == '1' and not ever_paid(job) and not ENDS[state] then
  -- Cancellation was requested while the step ran, and nothing was paid.
  state, reason, resume, outcome = 'cancelled', '', '', ''
elseif reason == 'blocked' and not is_parked(blocker) then
  -- The job that blocks this one has moved on since: this one asks for its session again.
  state = resume
elseif reason == 'outcome_unknown' and not turn_is_paid(job) and job.as_done ~= '1' then
  -- The intent was withdrawn while the step judged its message: there is nothing unknown about it. With
  -- `as_done`, by which a person accepts the draft, the job stays held: it must not pay.
  state = 'preparing'
end
if asked == 'held' and RUNNING[state] then reason, changed.message, changed.remedy = '', '', '' end
local continues = next_nonce ~= '' and RUNNING[state] and state == asked
local session, owner = changed.session_id or job.session_id, job.owner
local call = job['call:' .. job.turn]
local is_message_over = SESSION_STATES[job.state] and state ~= 'generating' and state ~= 'settling'
local ends_call = is_message_over or not RUNNING[state] or outcome == 'question'

-- 2. Check and read what is written below, because a script that fails keeps what it has written.
require_type('hash', META)
if paid_call then require_endable(job, paid_call) end
if ends_call then require_endable(job, call) end
if RUNNING[state] then
  require_movable(id, job, state, session)
elseif ENDS[state] and not SESSION_STATES[job.state] and session == job.session_id then
  require_finishable(job)
else
  require_writable(id, job, reason, changed.account, changed.session_id)
end
if reason == 'blocked' then require_type('set', blocked_key(blocker)) end
local pace = state == 'succeeded' and redis.call('HMGET', PACE, 'clips', 'place_ms', 'clip_ms')

-- 3. Write the agenda first: if its key holds another type, the write fails before anything is written.
local keeps_lease = continues and 2 * (number(job.lease) - now) > lease
local lease_end = keeps_lease and number(job.lease) or now + lease
-- A render that waits for its next poll is in the index of polls too, from which workers claim it in
-- groups. If none has claimed it within POLL_GRACE, the agenda makes it due as an ordinary step.
local is_poll = state == 'rendering' and delay > 0
  and (changed.render_submitted or job.render_submitted) == '1'
if not RUNNING[state] then
  take_off_agenda(id)
elseif not continues then
  redis.call('ZADD', AGENDA, now + delay + (is_poll and POLL_GRACE or 0), id)
elseif not keeps_lease then
  redis.call('ZADD', AGENDA, lease_end + margin, id)
end
if is_poll then try('ZADD', POLLS, now + delay, id) end

-- 4. Write the facts, and end the message.
if paid_call then record_paid_facts(id, job, paid_call, paid_facts) end
-- `job` keeps its old values of these fields, because the code below compares with them.
for name, value in pairs(changed) do change_hash(job_key(id), {}, name, value) end
change(id, job, 'committed', nonce, 'owner', '', 'nonce', '', 'lease', 0, 'crashes', 0,
  'not_before', now + delay)
job.account = changed.account or job.account
if meta.suspect == id then redis.call('HDEL', META, 'suspect') end
if reason == 'blocked' then
  redis.call('SADD', blocked_key(blocker), id)
  blocked[blocker] = nil
end
if session ~= job.session_id then
  drop_batch_session(job)
  release_session(id, job)
end
if ends_call then end_call(job, call) end
if outcome ~= '' then
  change(id, job, 'outcome:' .. job.turn, outcome)
  if outcome == 'question' then change(id, job, 'turn', number(job.turn) + 1) end
end

-- 5. Move the job.
if state == 'held' then change(id, job, 'resume', resume) end
move(id, job, state, reason)
if state == 'succeeded' then
  drop_working_fields(id, job)
  update_pace(pace)
end
if ENDS[state] then record_end(id, job) end
if not RUNNING[state] then
  notify(id, job)
elseif continues then
  change(id, job, 'owner', owner, 'nonce', next_nonce, 'lease', lease_end,
    'fence', number(job.fence) + 1, 'attempts', number(job.attempts) + 1)
  for name, value in pairs(changed) do job[name] = value end
  return {'CLAIMED', flat_list(job), now}
end
return {'OK'}
