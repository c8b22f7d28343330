-- Sessions that several jobs use: one message at a time in each, whoever sends it. Stands behind
-- the prelude in every script. Two kinds of jobs meet in a session:
--   a follow-up goes on in the session of the job that it follows
--   the jobs of a shared batch go through one session, admitted one at a time
-- session:{ns}:<session> holds who has it (holder), the last message in it (last), and who asked
-- for it in vain without being the batch's next, and when (wanted, wanted_at).
local function session_key(session) return 'session:{' .. ns .. '}:' .. session end
local function waiting_key(id) return 'waiting:{' .. ns .. '}:' .. id end

local WANTED_MS = 10000
local AT_WORK = {preparing = true, generating = true, settling = true}
local SESSION = {'session_id', 'task_id', 'bind_id', 'claim_url', 'account', 'token_id'}

-- Whether the job has this session for itself: while it works in it, and while it is held over a
-- message that may have changed it. A question changed nothing; a lost session has nothing left.
local function has_session(job, session)
  if session == '' or job.session_id ~= session then return false end
  if AT_WORK[job.state] then return true end
  return job.state == 'held' and job['call:' .. job.turn] ~= ''
    and job['outcome:' .. job.turn] == 'sent'
    and job.reason ~= 'question' and job.reason ~= 'session_lost'
end

-- A follow-up, or a job that is made anew in a shared batch: neither is admitted as its next.
local function comes_between(job)
  return job.follows ~= '' or is_single(job.flow)
end

-- Takes the job's session for it -> nil, or SESSION_BUSY | SESSION_BLOCKED and who has it.
-- The holder is judged by its record, so that a job which left without a word holds up nobody.
local function take_session(id, job)
  if job.session_id == '' then return nil end
  local key = session_key(job.session_id)
  local holder, wanted, wanted_at =
    unpack(redis.call('HMGET', key, 'holder', 'wanted', 'wanted_at'))
  if holder == id then return nil end
  local other, why
  if holder then other, why = load_job(holder) end
  -- What cannot be read may have a message under way here: it comes first, until it is decided.
  if why then return 'SESSION_BUSY', holder end
  if other and has_session(other, job.session_id) then
    if comes_between(job) then redis.call('HSET', key, 'wanted', id, 'wanted_at', now) end
    return other.state == 'held' and 'SESSION_BLOCKED' or 'SESSION_BUSY', holder
  end
  -- A batch whose next job is always ready would never let anybody in between.
  if job.shared ~= '' and wanted and wanted ~= id and now - number(wanted_at) < WANTED_MS then
    return 'SESSION_BUSY', wanted
  end
  redis.call('HSET', key, 'holder', id)
  redis.call('HDEL', key, 'wanted', 'wanted_at')
  return nil
end

local function note_message(job, call)
  if job.session_id ~= '' then redis.call('HSET', session_key(job.session_id), 'last', call) end
end

-- Where nobody else will ever speak, nothing need be remembered.
local function leave_session(id, job)
  if job.session_id == '' then return end
  local key = session_key(job.session_id)
  if redis.call('HGET', key, 'holder') ~= id then return end
  if job.follows == '' and job.shared == '' then
    redis.call('DEL', key)
  else
    redis.call('HDEL', key, 'holder')
  end
end

-- What is remembered of a job's session goes with its record, unless another has it now.
local function forget_session(id)
  redis.call('DEL', waiting_key(id))
  local session = redis.call('HGET', job_key(id), 'session_id')
  if not session or session == '' then return end
  local holder = redis.call('HGET', session_key(session), 'holder')
  if holder and holder ~= id then return end
  redis.call('DEL', session_key(session), 'uploaded:{' .. ns .. '}:' .. session)
end

-- A new follow-up takes its place behind the last one in its session.
local function line_up(id)
  local follows = redis.call('HGET', job_key(id), 'follows')
  local origin = follows and load_job(follows)
  if not origin then return end
  local first = origin.root ~= '' and origin.root or follows
  local root = load_job(first)
  if not root then first, root = follows, origin end
  local after = root.last_said ~= '' and root.last_said or follows
  redis.call('HSET', job_key(id), 'root', first, 'after', after)
  redis.call('HSET', job_key(first), 'last_said', id)
end

-- Whether whoever holds a job up stands still itself: the job is then parked behind it, instead of
-- taking one of the slots that the other may need.
local function stands_still(id)
  local state = redis.pcall('HGET', job_key(id), 'state')
  return state == 'held' or state == 'queued'
end

-- Jobs that were held as blocked behind this one look again.
local function wake(id)
  for _, other in ipairs(redis.call('SMEMBERS', waiting_key(id))) do
    local job = load_job(other)
    if job and job.state == 'held' and job.reason == 'blocked' then
      redis.call('HSET', job_key(other), 'message', '', 'remedy', '', 'not_before', 0)
      resume_job(other, job, job.resume == '' and 'preparing' or job.resume)
    end
  end
  redis.call('DEL', waiting_key(id))
end

-- A shared batch has one session: while a job is in it, none of the batch's flows is open. What
-- waits among the single jobs is kept apart by the session itself.
local function admit_alone(id, job, flow)
  if job.batch == '' or redis.call('HGET', batch_key(job.batch), 'session') ~= 'shared' then
    return
  end
  redis.call('HSET', job_key(id), 'shared', 1)
  job.shared = '1'
  if is_single(flow) then return end
  redis.call('HSET', batch_key(job.batch), 'admitted', id)
  deactivate_flows(job.batch)
end

-- The session is the batch's no more: the next job opens another.
local function drop_shared(job)
  if job.shared == '' or job.session_id == '' then return end
  local key = batch_key(job.batch)
  if redis.call('HGET', key, 'shared:session_id') ~= job.session_id then return end
  for _, name in ipairs(SESSION) do redis.call('HDEL', key, 'shared:' .. name) end
end

-- A shared batch whose job is done in the session lets the next one in. One whose job is held over
-- an unknown outcome is paused until that is decided.
local function leave_batch(id, job)
  local key = batch_key(job.batch)
  if redis.call('HGET', key, 'admitted') ~= id or AT_WORK[job.state] then return end
  if has_session(job, job.session_id) then
    if redis.call('HGET', key, 'paused') ~= '1' then
      redis.call('HSET', key, 'paused', 1, 'blocked_by', id)
    end
    return
  end
  redis.call('HDEL', key, 'admitted')
  if redis.call('HGET', key, 'blocked_by') == id then
    redis.call('HDEL', key, 'blocked_by')
    redis.call('HSET', key, 'paused', 0)
  end
  activate_flows(job.batch)
end

after_move = function(id, job, from)
  if from == job.state or not AT_WORK[from] and from ~= 'held' then return end
  if job.reason == 'session_lost' then drop_shared(job) end
  if not AT_WORK[job.state] and not has_session(job, job.session_id) then
    leave_session(id, job)
  end
  if job.shared ~= '' then leave_batch(id, job) end
  if not AT_WORK[job.state] or from == 'held' then wake(id) end
end
