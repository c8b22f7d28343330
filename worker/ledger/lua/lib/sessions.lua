-- Sessions of the video API that several jobs share: one job at a time works in each.
--
-- Which jobs share a session
--   a follow-up works in the session of the job that it follows
--   the jobs of a batch with a shared session work in that one; so do redone jobs of such a batch
--
-- How a session changes hands
--   acquire_session          takes it if it is free and nobody is ahead; else the job queues for it
--   release_session_if_done  gives it up after a move to a state that does not need it any more
--   needs_session            whether a job needs its session for itself, judged by its record, so
--                            that a job that has not given it up does not block others for ever
-- Follow-ups of one job also keep the order in which they were submitted: each has a predecessor,
-- and acquires the session only after it. A batch with a shared session also dispatches one job at a time:
-- its record names the admitted job, and its flows are closed until that one is done in the session.
--
-- Keys and fields
--   session:{ns}:<session>        holder: the job that has acquired it; last, last_at, entry: the
--                                 last message's call, its time and its journal entry;
--                                 before, before_at, before_entry: those of the message before it
--   session_queue:{ns}:<session>  zset of jobs that wait for it, score = when each first asked
--   waiting:{ns}:<job>            set of jobs that are held as blocked by this one
--   job    follows: the job in whose session a follow-up works
--          root, after: the first job of a chain of follow-ups, and the predecessor in it
--          last_said: on the root, the last follow-up of the chain
--          shared: 1 where it uses its batch's session
--   batch  session: own or shared; shared:<field>: that session
--          admitted: the job that may use it now
--          blocked_by: the job over whose unknown outcome the batch is paused
local function session_key(session) return 'session:{' .. ns .. '}:' .. session end
local function session_queue_key(session) return 'session_queue:{' .. ns .. '}:' .. session end
local function blocked_key(id) return 'waiting:{' .. ns .. '}:' .. id end

local SESSION_FIELDS = {'session_id', 'task_id', 'bind_id', 'claim_url', 'account', 'token_id'}
-- A job in the queue that is not due within this many ms does not hold up those behind it.
local QUEUE_PATIENCE = 10000

-- What is stored for a session, read once in a script: a table without the fields that it lacks.
local sessions = {}
local function read_session(name)
  if not sessions[name] then
    local holder, last, last_at, entry =
      unpack(redis.call('HMGET', session_key(name), 'holder', 'last', 'last_at', 'entry'))
    sessions[name] = {
      holder = holder or nil, last = last or nil, last_at = last_at or nil, entry = entry or nil
    }
  end
  return sessions[name]
end

local function change_session(name, ...)
  change_hash(session_key(name), read_session(name), ...)
end

local function is_holder(id, session)
  return session ~= '' and read_session(session).holder == id
end

-- Whether a job needs this session for itself: while it works in it, and while it is held because of
-- a message of unknown outcome. After a question the project is unchanged, and a lost session has none.
local function needs_session(job, session)
  if session == '' or job.session_id ~= session then return false end
  if SESSION_STATES[job.state] then return true end
  return job.state == 'held' and job['call:' .. job.turn] ~= ''
    and job['outcome:' .. job.turn] == 'sent'
    and job.reason ~= 'question' and job.reason ~= 'session_lost'
end

-- The job that is ahead of this one in a session's queue, or nil if none is, and whether this one has
-- a place there. Jobs that no longer ask for the session lose their place.
local function first_ahead(id, session)
  for _, other in ipairs(redis.call('ZRANGE', session_queue_key(session), 0, -1)) do
    if other == id then return nil, true end
    local job = load_job(other)
    if job and SESSION_STATES[job.state] and job.session_id == session
      and number(job.not_before) <= now + QUEUE_PATIENCE then return other end
    redis.call('ZREM', session_queue_key(session), other)
  end
end

-- Acquires the job's session -> nil, or SESSION_BUSY | SESSION_BLOCKED and the job to wait for.
-- Safe twice.
local function acquire_session(id, job)
  if job.session_id == '' then return nil end
  local holder = read_session(job.session_id).holder
  if holder == id then return nil end
  local refusal, other, is_queued
  if holder then
    local holding, unreadable = load_job(holder)
    if unreadable then
      -- It may have a message under way in the session.
      refusal, other = 'SESSION_BUSY', holder
    elseif holding and needs_session(holding, job.session_id) then
      refusal = holding.state == 'held' and 'SESSION_BLOCKED' or 'SESSION_BUSY'
      other = holder
    end
  end
  if not refusal then
    other, is_queued = first_ahead(id, job.session_id)
    refusal = other and 'SESSION_BUSY'
  end
  if refusal then
    redis.call('ZADD', session_queue_key(job.session_id), 'NX', now, id)
    return refusal, other
  end
  change_session(job.session_id, 'holder', id)
  if is_queued then redis.call('ZREM', session_queue_key(job.session_id), id) end
  return nil
end

-- Gives a session up, or the place in its queue. The last message of a session in which no other job
-- will work is deleted.
local function release_session(id, job)
  if job.session_id == '' then return end
  if not is_holder(id, job.session_id) then
    redis.call('ZREM', session_queue_key(job.session_id), id)
    return
  end
  local key = session_key(job.session_id)
  sessions[job.session_id] = nil
  if unwritten[key] then unwritten[key].holder = nil end
  if job.follows == '' and job.shared == '' then
    unwritten[key] = nil
    redis.call('DEL', key)
  else
    redis.call('HDEL', key, 'holder')
  end
end

-- Remembers the last message of a session, by which settling tells whose draft the session shows,
-- and its journal entry.
local function set_last_message(id, job, call, attempt, at)
  if job.session_id == '' then return end
  local found = read_session(job.session_id)
  if number(found.last_at) > at then return end
  change_session(job.session_id, 'before', found.last or '', 'before_at', found.last_at or '',
    'before_entry', found.entry or '', 'last', call, 'last_at', at, 'entry', id .. ' ' .. attempt)
end

-- Forgets the last message of a session after its intent was withdrawn, because it has made no draft: the
-- message before it is the last one again. A session of an older version does not know that one, and
-- keeps this.
local function forget_last_message(session, call)
  local key = session_key(session)
  if session == '' or redis.pcall('HGET', key, 'last') ~= call then return end
  local before, at, entry = unpack(redis.call('HMGET', key, 'before', 'before_at', 'before_entry'))
  if not before then return end
  redis.call('HDEL', key, 'last', 'last_at', 'entry', 'before', 'before_at', 'before_entry')
  if before ~= '' then redis.call('HSET', key, 'last', before, 'last_at', at, 'entry', entry) end
  sessions[session] = nil
end

-- The journal entry of the newest message of a job as `<id> <attempt>`, or ''.
local function newest_entry(id)
  local job = load_job(id)
  for turn = job and number(job.turn) or 0, 1, -1 do
    local attempt = job['attempt:' .. turn]
    if attempt ~= '' and attempt ~= '0' then return id .. ' ' .. attempt end
  end
  return ''
end

-- The journal entry of the last message of another job in the session of this one, or ''. A session
-- that only one job used was forgotten; then it is that of the job before a follow-up.
local function previous_entry(id, job)
  if job.session_id == '' then return '' end
  local entry = read_session(job.session_id).entry or ''
  local other, attempt = string.match(entry, '^(.*) (%d+)$')
  if other and other ~= id and attempt ~= '0' then return entry end
  if not other and job.after ~= '' then return newest_entry(job.after) end
  return ''
end

-- Deletes what is stored for a job's session when the job is pruned, unless another job holds it.
local function forget_session(id)
  redis.call('DEL', blocked_key(id))
  local session = redis.call('HGET', job_key(id), 'session_id')
  if not session or session == '' then return end
  local holder = redis.call('HGET', session_key(session), 'holder')
  if holder and holder ~= id then return end
  redis.call('DEL', session_key(session), session_queue_key(session),
    'uploaded:{' .. ns .. '}:' .. session)
end

-- Appends a new follow-up to its chain.
local function append_to_chain(id)
  local follows = redis.call('HGET', job_key(id), 'follows')
  local origin = follows and load_job(follows)
  if not origin then return end
  local first = origin.root ~= '' and origin.root or follows
  local root = load_job(first)
  if not root then first, root = follows, origin end
  local predecessor = root.last_said ~= '' and root.last_said or follows
  redis.call('HSET', job_key(id), 'root', first, 'after', predecessor)
  redis.call('HSET', job_key(first), 'last_said', id)
end

-- The jobs that are held as blocked by this one, read once in a script.
local blocked = {}
local function jobs_blocked_by(id)
  blocked[id] = blocked[id] or redis.call('SMEMBERS', blocked_key(id))
  return blocked[id]
end

-- Whether a job is held or queued. A job that waits for it is then held as blocked, instead of taking
-- a place that the other may need to continue.
local function is_parked(id)
  write_hash(job_key(id))
  local state = redis.pcall('HGET', job_key(id), 'state')
  return state == 'held' or state == 'queued'
end

-- Admits a job to the session that its batch shares, if the batch shares one: the batch's flows are
-- closed until the job no longer needs the session. A job that waited among the single jobs is not
-- admitted; it queues for the session. A follow-up uses the session of the job that it follows, whatever
-- its batch does.
local function admit_in_batch(id, job, flow)
  if job.batch == '' or job.follows ~= '' then return end
  if redis.call('HGET', batch_key(job.batch), 'session') ~= 'shared' then return end
  change(id, job, 'shared', 1)
  if is_single(flow) then return end
  redis.call('HSET', batch_key(job.batch), 'admitted', id)
  deactivate_flows(job.batch)
end

-- Ends the admission of a job that no longer needs the session of its batch. If the job is held because
-- of an unknown outcome, the batch is paused until that is decided.
local function end_admission(id, job)
  local key = batch_key(job.batch)
  if redis.call('HGET', key, 'admitted') ~= id or SESSION_STATES[job.state] then return end
  if needs_session(job, job.session_id) then
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

-- Forgets the session of a shared batch: the next job opens another one.
local function drop_batch_session(job)
  if job.shared == '' or job.session_id == '' then return end
  local key = batch_key(job.batch)
  if redis.call('HGET', key, 'shared:session_id') ~= job.session_id then return end
  for _, name in ipairs(SESSION_FIELDS) do redis.call('HDEL', key, 'shared:' .. name) end
end

-- After a move: gives up the session, and the admission to that of the batch, if the job no longer needs
-- them.
local function release_session_if_done(id, job)
  if job.reason == 'session_lost' then drop_batch_session(job) end
  if not needs_session(job, job.session_id) then release_session(id, job) end
  if job.shared ~= '' then end_admission(id, job) end
end
