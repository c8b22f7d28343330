-- commit(id, fence, nonce, state, delay, reason, resume, outcome, next, lease, margin, field, value, ...)
-- Ends a step: writes facts, the next state and when it is due, for the owner alone.
--   delay   ms until the next step         reason   why held or failed, else ''
--   resume  where a held job continues     outcome  of the current turn's message, '' to leave it
--   next    '', or the nonce of a claim for the same owner, by which it continues with the next stage
--           without a wake-up message; `lease` and `margin` in ms are those of that claim
-- -> LOST | OK | CLAIMED {record}.  Safe twice: the nonce of the last commit is stored. A job that does
-- not enter the state that the step asked for is not claimed.
local id, fence, nonce, state, delay, reason, resume, outcome =
  ARGV[2], ARGV[3], ARGV[4], ARGV[5], number(ARGV[6]), ARGV[7], ARGV[8], ARGV[9]
local next_nonce, lease, margin = ARGV[10], number(ARGV[11]), number(ARGV[12])
local FIRST_FACT = 13
local job = load_job(id)
if not job then return {'LOST'} end
if job.committed == nonce then
  if next_nonce ~= '' and job.owner ~= '' and job.nonce == next_nonce then
    return {'CLAIMED', redis.call('HGETALL', job_key(id))}
  end
  return {'OK'}
end
if not is_owned(job, fence) then return {'LOST'} end

-- Cancellation was requested while the step ran, and nothing was paid.
if job.cancel_requested == '1' and not ever_paid(job) and not ENDS[state] then
  state, reason, resume, outcome = 'cancelled', '', '', ''
end
local changed = {}
for at = FIRST_FACT, #ARGV, 2 do changed[ARGV[at]] = ARGV[at + 1] end
if ENDS[state] or state == 'held' then
  require_writable(id, job, reason, changed.account, changed.session_id)
  require_type('hash', PACE)
else
  require_movable(id, job, state, changed.session_id or job.session_id)
end
if reason == 'blocked' then
  require_type('set', blocked_key(changed.blocked_by or job.blocked_by))
end
redis.call('HSET', job_key(id), 'committed', nonce, 'owner', '', 'nonce', '', 'lease', 0,
  'crashes', 0, 'not_before', now + delay, unpack(ARGV, FIRST_FACT))
job.account = changed.account or job.account
if redis.call('HGET', META, 'suspect') == id then redis.call('HDEL', META, 'suspect') end

-- The job that blocks this one may have moved on since: then this one asks for its session again.
if reason == 'blocked' then
  local blocker = changed.blocked_by or job.blocked_by
  if is_parked(blocker) then
    redis.call('SADD', blocked_key(blocker), id)
  else
    state, reason = resume, ''
    redis.call('HSET', job_key(id), 'message', '', 'remedy', '')
  end
end
-- The intent was withdrawn while the step judged its message: there is nothing unknown about it. A
-- turn that is settled as done by a person's decision never pays instead.
if reason == 'outcome_unknown' and not turn_is_paid(job) and job.as_done ~= '1' then
  state, reason = 'preparing', ''
  redis.call('HSET', job_key(id), 'message', '', 'remedy', '')
end
if changed.session_id and changed.session_id ~= job.session_id then
  drop_batch_session(job)
  release_session(id, job)
end

local call = job['call:' .. job.turn]
local is_message_over = SESSION_STATES[job.state] and state ~= 'generating' and state ~= 'settling'
if call ~= '' and (is_message_over or ENDS[state] or state == 'held') then end_call(job, call) end
if outcome ~= '' then
  redis.call('HSET', job_key(id), 'outcome:' .. job.turn, outcome)
  if outcome == 'question' then
    end_call(job, call)
    redis.call('HINCRBY', job_key(id), 'turn', 1)
  end
end

-- Updates how long recent clips took, in ms: from admission to the end of the message, which is how
-- long a job counts among the admitted ones, and in all. A mean over the first clips, then a rolling
-- mean over about as many.
local MEAN_OVER = 32
local function update_pace(done)
  local admitted, whole = 0, 0
  for state, _ in pairs(RUNNING) do
    local spent = number(redis.call('HGET', job_key(done), 'ms:' .. state))
    whole = whole + spent
    if state == 'preparing' or state == 'generating' then admitted = admitted + spent end
  end
  local clips, mean_admitted, mean_whole =
    unpack(redis.call('HMGET', PACE, 'clips', 'place_ms', 'clip_ms'))
  local weight = math.min(number(clips) + 1, MEAN_OVER)
  redis.call('HSET', PACE, 'clips', number(clips) + 1,
    'place_ms', number(mean_admitted) + (admitted - number(mean_admitted)) / weight,
    'clip_ms', number(mean_whole) + (whole - number(mean_whole)) / weight)
end

if ENDS[state] then
  move(id, job, state, reason)
  if state == 'succeeded' then
    drop_working_fields(id)
    update_pace(id)
  end
  record_end(id, job)
  unschedule(id)
  notify(id)
elseif state == 'held' then
  redis.call('HSET', job_key(id), 'resume', resume)
  move(id, job, state, reason)
  unschedule(id)
  notify(id)
else
  move(id, job, state)
  if next_nonce ~= '' and state == ARGV[5] then
    redis.call('HSET', job_key(id), 'owner', job.owner, 'nonce', next_nonce, 'lease', now + lease,
      'fence', number(job.fence) + 1, 'attempts', number(job.attempts) + 1)
    redis.call('ZADD', AGENDA, now + lease + margin, id)
    return {'CLAIMED', redis.call('HGETALL', job_key(id))}
  end
  redis.call('ZADD', AGENDA, now + delay, id)
end
return {'OK'}
