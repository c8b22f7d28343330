-- Moves of a job from one state to another, with everything that depends on the state.

-- Refuses the call if a key holds another type to which the webhooks of a job and its batch are added.
local function require_webhooks(job)
  local url = job.batch ~= '' and redis.call('HGET', batch_key(job.batch), 'webhook')
  for _, address in ipairs({job.webhook, url or ''}) do
    if address ~= '' then
      require_type('zset', RECEIVERS, LEASED, WEBHOOKS_BY_AGE, receiver_queue_key(receiver_of(address)))
      require_type('hash', failures_key(receiver_of(address)))
    end
  end
end

-- Refuses the call if a key that a change of this job writes holds another type: its own keys, and
-- those of the jobs that wait for it. `reason`, `account` and `session` are the values after the change,
-- if they differ.
local function require_writable(id, job, reason, account, session, seen)
  seen = seen or {}
  if seen[id] then return end
  seen[id] = true
  require_type('zset', AGENDA, FLOWS, OUTBOX)
  require_type('hash', META)
  require_type('list', flow_key(job.flow))
  require_type('set', 'holds:{' .. ns .. '}', held_key(job.account, job.reason), blocked_key(id))
  if reason and reason ~= '' then require_type('set', held_key(account or job.account, reason)) end
  for _, payer in ipairs({job.account, account}) do
    require_type('hash', account_key(payer), reserved_key(payer))
    require_type('zset', slots_key(payer), ended_key(payer))
  end
  for _, name in ipairs({job.session_id, session}) do
    require_type('hash', session_key(name))
    require_type('zset', session_queue_key(name))
  end
  require_webhooks(job)
  for _, other in ipairs(jobs_blocked_by(id)) do
    local waiting = load_job(other)
    if waiting then require_writable(other, waiting, nil, nil, nil, seen) end
  end
end

-- Refuses the call if a key holds another type that is written for the jobs that wait for this one.
local function require_blocked_writable(id)
  for _, other in ipairs(jobs_blocked_by(id)) do
    require_type('zset', FLOWS)
    local waiting = load_job(other)
    if waiting then require_writable(other, waiting, nil, nil, nil, {[id] = true}) end
  end
end

-- Refuses the call if a key that the end of a message of this job writes holds another type.
local function require_endable(job, call)
  if has_ended(job, call) then return end
  require_type('zset', slots_key(job.account), ended_key(job.account))
end

-- Refuses the call if a key holds another type that a step of this job writes as it leads from one
-- running state to another, but for the agenda, which must be written first. `session` is the job's
-- session after the step. What is read here cannot fail later.
local function require_movable(id, job, to, session)
  local is_unchanged = session == job.session_id or job.session_id == ''
  local leaves_session = SESSION_STATES[job.state] and not SESSION_STATES[to]
  if is_unchanged and (job.shared == '' or not SESSION_STATES[job.state]) then
    if not leaves_session then return end
    if is_holder(id, job.session_id) then
      require_blocked_writable(id)
      return
    end
  end
  require_type('zset', FLOWS)
  for _, name in ipairs({job.session_id, session}) do
    require_type('hash', session_key(name))
    require_type('zset', session_queue_key(name))
  end
  require_blocked_writable(id)
end

-- Refuses the call if a key holds another type that a step of this job writes as it leads from a
-- state after its session to its end, but for the agenda, which must be written first.
local function require_finishable(job)
  require_type('zset', OUTBOX)
  require_webhooks(job)
end

-- Marks a job whose current state is to be sent to Flower. The number is new each time, so that the
-- sender notices if the job has changed after it was read.
local function announce(id)
  try('ZADD', TASK_EVENTS, increment(META, 'announced', 1), id)
end

-- Whether a job may prepare for long: it fetches a file from a server, or waits for the session of
-- another job.
local function has_source(job) return job.source ~= '' or job.follows ~= '' end

local move  -- defined below: a move can resume jobs that were blocked, which moves them in turn

-- Continues a job that was held, has failed, or whose intent was withdrawn. A job that has not paid
-- queues again; one that has paid continues with the next stage. A job that settles again acquires its
-- session, or a place in its queue, so that no other job sends a message there before the outcome of
-- its own is known.
local function resume_job(id, job, to)
  if to == 'preparing' or to == 'generating' then
    move(id, job, 'queued')
    enqueue({id}, job.flow, job.batch)
  else
    move(id, job, to)
    if to == 'settling' then acquire_session(id, job) end
    redis.call('ZADD', AGENDA, now, id)
  end
  -- Its Celery result still says that it is held or has failed.
  notify_again(id, job)
end

-- Resumes the jobs that are held as blocked by this one.
local function resume_blocked(id)
  local waiting = jobs_blocked_by(id)
  blocked[id] = nil
  for _, other in ipairs(waiting) do
    local job = load_job(other)
    if job and job.state == 'held' and job.reason == 'blocked' then
      change(other, job, 'message', '', 'remedy', '', 'not_before', 0)
      resume_job(other, job, job.resume == '' and 'preparing' or job.resume)
    end
  end
  if #waiting > 0 then redis.call('DEL', blocked_key(id)) end
end

-- Writes the state, its counters and the time spent in the old state. A held job is counted under
-- its reason too. A job that no longer needs its session gives it up.
move = function(id, job, to, reason)
  local from = job.state
  if from == 'held' then
    redis.call('SREM', held_key(job.account, job.reason), id)
    count_job(job, 'h:' .. job.reason, -1)
  end
  if to == 'held' then
    redis.call('SADD', held_key(job.account, reason), id)
    redis.call('SADD', 'holds:{' .. ns .. '}', held_key(job.account, reason))
    count_job(job, 'h:' .. reason, 1)
  end
  local had_reason = job.reason
  if (reason or '') ~= had_reason then change(id, job, 'reason', reason or '') end
  if from == to then return end

  count_job(job, 'n:' .. from, -1)
  count_job(job, 'n:' .. to, 1)
  local spent = 'ms:' .. from
  change(id, job, 'state', to, spent, number(job[spent]) + now - number(job.entered_at),
    'entered_at', now)
  if from == 'preparing' then
    try('ZREM', PREPARING, id)
    if has_source(job) then try('SREM', FETCHING, id) end
  end
  if to == 'preparing' then
    try('ZADD', PREPARING, now, id)
    if has_source(job) then try('SADD', FETCHING, id) end
  end
  -- The next claim sends the job's state to Flower again, which leaves an end only after a special event.
  if not RUNNING[from] and job.worker ~= '' then
    remove(id, job, 'worker')
    if ENDS[from] then change(id, job, 'reopened', 1) end
  end
  if to == 'queued' then announce(id) end
  if is_in_batch(job) and (to == 'queued' or RUNNING[to]) then
    redis.call('HDEL', batch_key(job.batch), 'ended')
  end
  if SESSION_STATES[from] or from == 'held' then
    release_session_if_done(id, job)
    if from == 'held' or not SESSION_STATES[to] then resume_blocked(id) end
  end
end

-- Puts an end or a hold into the outbox, in the same write as the move.
local function notify(id, job)
  change(id, job, 'revision', number(job.revision) + 1)
  redis.call('ZADD', OUTBOX, now, 'job:' .. id)
  announce(id)
  add_job_webhook(id, job)
end

-- Requeues a job that was set aside and can be read again. -> whether it had been set aside
-- If it is on the agenda, its owner still has it. Otherwise its owner has lost it, and the owner is
-- cleared.
local function restore_set_aside(id, job)
  if redis.call('HDEL', UNREADABLE, id) == 0 then return false end
  if job.state == 'queued' then
    redis.call('LREM', flow_key(job.flow), 0, id)
    enqueue({id}, job.flow, job.batch)
  elseif RUNNING[job.state] and not redis.call('ZSCORE', AGENDA, id) then
    change(id, job, 'owner', '', 'nonce', '', 'lease', 0)
    redis.call('ZADD', AGENDA, now, id)
  end
  return true
end

-- Records when a job has ended, and when the last row of its batch has.
local function record_end(id, job)
  change(id, job, 'finished_at', now)
  if job.batch and job.batch ~= '' then
    redis.pcall('HSET', batch_key(job.batch), 'finished_at', now)
  end
end

-- Deletes the fields that only the steps need. A failed job keeps them for a retry.
local function drop_working_fields(id, job)
  remove(id, job, 'owner', 'nonce', 'lease', 'not_before', 'crashes', 'resume',
    'tries', 'tries_of', 'trouble', 'readings', 'last_reading', 'baseline', 'as_done', 'uploading',
    'polls', 'render_tries', 'render_submitted', 'render_step', 'stored', 'progress', 'progress_at', 'message',
    'remedy', 'adopted', 'next_attempt')
end

-- Cancels a job, or notes the request. -> CANCELLED | REQUESTED | CONTINUES | ENDED
-- The caller takes a job that was queued out of its flow: job.state_before is its state until now.
local function request_cancel(id, job)
  if ENDS[job.state] then return 'ENDED' end
  change(id, job, 'cancel_requested', 1)
  local idle = job.owner == '' and not ever_paid(job)
  if job.state ~= 'held' and not idle then return ever_paid(job) and 'CONTINUES' or 'REQUESTED' end
  job.state_before = job.state
  take_off_agenda(id)
  end_call(job, job['call:' .. job.turn])
  move(id, job, 'cancelled')
  record_end(id, job)
  notify(id, job)
  -- Flower does not know a job that never started. Thousands of them are sent to it slowly.
  if job.started_at == '' then
    try('ZREM', TASK_EVENTS, id)
    try('ZADD', TASK_REPLAY, now, id)
  end
  return 'CANCELLED'
end
