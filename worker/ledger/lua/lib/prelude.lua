-- Shared by every script: key names, counters, and the few moves that several scripts make.
-- ARGV[1] is always the namespace. KEYS[1] is always meta:{ns}, so that a cluster can route.
local ns = ARGV[1]
local now = clock()

local META = KEYS[1]
local AGENDA = 'agenda:{' .. ns .. '}'
local FLOWS = 'flows:{' .. ns .. '}'
local OUTBOX = 'outbox:{' .. ns .. '}'
local COUNTS = 'counts:{' .. ns .. '}'
local JOBS = 'jobs:{' .. ns .. '}'
local PACE = 'pace:{' .. ns .. '}'
local UNREADABLE = 'unreadable:{' .. ns .. '}'

local function job_key(id) return 'job:{' .. ns .. '}:' .. id end
local function flow_key(flow) return 'flow:{' .. ns .. '}:' .. flow end
local function batch_key(batch) return 'batch:{' .. ns .. '}:' .. batch end
local function account_key(account) return 'account:{' .. ns .. '}:' .. account end
local function slots_key(account) return 'slots:{' .. ns .. '}:' .. account end
local function reserved_key(account) return 'reserved:{' .. ns .. '}:' .. account end
local function ended_key(account) return 'ended:{' .. ns .. '}:' .. account end
local function held_key(account, reason)
  if account == nil or account == '' then account = '-' end
  return 'held:{' .. ns .. '}:' .. account .. ':' .. reason
end

local STATES = {queued = true, held = true}
for _, some in ipairs({RUNNING, ENDS}) do
  for state, _ in pairs(some) do STATES[state] = true end
end

local function number(text) return tonumber(text) or 0 end

-- What no script can read is taken out of everybody's way, and kept by id with the reason. What is
-- no job is kept by its key.
local function set_aside(id, why)
  redis.call('HSET', UNREADABLE, id, why)
  redis.call('ZREM', AGENDA, id)
end

local INTEGER_FIELDS = {turn = true, fence = true, entered_at = true, paid = true, intents = true,
               attempts = true, crashes = true, revision = true, lease = true, not_before = true}
local REQUIRED_FIELDS = {'turn', 'fence', 'entered_at', 'flow'}

local function is_integer(text)
  return #text < 16 and (text == '0' or string.find(text, '^%-?[1-9]%d*$') ~= nil)
end

-- Why the scripts cannot go by a record, or nil: what they reckon with is none, or its batch's
-- money cannot be told.
local function why_unreadable(job)
  if not STATES[job.state] then return "its state is '" .. job.state .. "'" end
  for _, name in ipairs(REQUIRED_FIELDS) do
    if job[name] == '' then return 'it has no ' .. name end
  end
  for name, value in pairs(job) do
    if (INTEGER_FIELDS[name] or string.sub(name, 1, 3) == 'ms:') and not is_integer(value) then
      return name .. " is '" .. string.sub(value, 1, 50) .. "', no number"
    end
  end
  if number(job.turn) < 1 or number(job.turn) > MAX_TURNS then return 'turn is ' .. job.turn end
  if job.batch == '' then return nil end
  local committed = redis.pcall('HGET', batch_key(job.batch), 'committed')
  if type(committed) == 'table' then return 'its batch is no record' end
  if committed and not string.find(committed, '^%-?%d+%.?%d*$') then
    return "its batch has spent '" .. string.sub(committed, 1, 50) .. "', no number"
  end
end

-- The record as a table of strings; absent fields read as ''. -> job | nil | nil, why
-- A record that makes no sense is set aside, and reads as no job.
local function load_job(id)
  local flat = redis.pcall('HGETALL', job_key(id))
  if not flat.err and #flat == 0 then return nil end
  local job = setmetatable({}, {__index = function() return '' end})
  for i = 1, #flat, 2 do job[flat[i]] = flat[i + 1] end
  local why = flat.err and 'its key holds no record' or why_unreadable(job)
  if not why then return job end
  set_aside(id, why)
  return nil, why
end

-- Adds to a counter -> its sum. One that is no number stays as it is, is set aside by its key, and
-- stops nobody.
local function increment(key, field, by)
  local sum = redis.pcall('HINCRBY', key, field, by)
  if type(sum) == 'number' then return sum end
  set_aside(key, field .. ' cannot be counted')
  return 0
end

local function count_job(job, field, by)
  increment(COUNTS, field, by)
  if job.batch ~= '' then increment(batch_key(job.batch), field, by) end
end

-- What follows from a move for sessions that several jobs use; see lib/sessions.lua.
local after_move
-- What an end or a hold means for webhooks; see lib/webhooks.lua.
local after_notify

-- Moves the state, the counters and the clock of the state in one go. A held job is counted
-- under its reason too.
local function move(id, job, to, reason)
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
  if from ~= to then
    count_job(job, 'n:' .. from, -1)
    count_job(job, 'n:' .. to, 1)
    redis.call('HINCRBY', job_key(id), 'ms:' .. from, now - number(job.entered_at))
    redis.call('HSET', job_key(id), 'state', to, 'entered_at', now)
    if job.batch ~= '' and (to == 'queued' or RUNNING[to]) then
      redis.call('HDEL', batch_key(job.batch), 'ended')
    end
    job.state = to
    job.entered_at = now
  end
  redis.call('HSET', job_key(id), 'reason', reason or '')
  job.reason = reason or ''
  after_move(id, job, from)
end

-- An end or a hold must be told to the world: the entry is filled in the same step.
local function notify(id)
  local revision = redis.call('HINCRBY', job_key(id), 'revision', 1)
  redis.call('ZADD', OUTBOX, now, 'job:' .. id)
  after_notify(id, revision)
end

local function virtual_time()
  return number(redis.call('HGET', META, 'virtual_time'))
end

local function is_single(flow) return string.sub(flow, 1, 7) == 'single:' end

-- Whether no job of a batch may start: it is paused, or its one session is taken.
local function is_closed(batch)
  if batch == '' then return false end
  local paused, admitted = unpack(redis.pcall('HMGET', batch_key(batch), 'paused', 'admitted'))
  return paused == '1' or (admitted and admitted ~= '')
end

-- Puts jobs at the end of their flow. A new or reawakened flow starts at the present virtual
-- time, so that it neither owes nor is owed anything for the time it slept. A batch's pause does
-- not hold back what waits among the single jobs.
local function enqueue(ids, flow, batch)
  redis.call('RPUSH', flow_key(flow), unpack(ids))
  if is_single(flow) or not is_closed(batch) then
    redis.call('ZADD', FLOWS, 'NX', virtual_time(), flow)
  end
end

local function deactivate_flows(batch)
  for priority, _ in pairs(PRIORITY_WEIGHTS) do redis.call('ZREM', FLOWS, batch .. ':' .. priority) end
end

local function activate_flows(batch)
  if is_closed(batch) then return end
  for priority, _ in pairs(PRIORITY_WEIGHTS) do
    local flow = batch .. ':' .. priority
    if redis.call('EXISTS', flow_key(flow)) == 1 then
      redis.call('ZADD', FLOWS, 'NX', virtual_time(), flow)
    end
  end
end

local function pause_batch(batch)
  redis.call('HSET', batch_key(batch), 'paused', 1)
  deactivate_flows(batch)
end

local function resume_batch(batch)
  redis.call('HSET', batch_key(batch), 'paused', 0)
  activate_flows(batch)
end

-- Whether the present turn of the job has a message that was, or may have been, sent.
local function turn_is_paid(job)
  local turn = job.turn
  return turn ~= '' and job['call:' .. turn] ~= ''
end

local function ever_paid(job)
  return number(job.paid) > 0
end

-- The API took a message in: the account bears it. Fast growth up to where it was refused last,
-- one message a round from there on; only while what is allowed is used.
local function widen_window(account)
  local key = account_key(account)
  local window, threshold = unpack(redis.call('HMGET', key, 'window', 'threshold'))
  window = tonumber(window) or FIRST_WINDOW
  if redis.call('ZCARD', slots_key(account)) >= math.floor(window) then
    local slow = threshold and window >= tonumber(threshold)
    redis.call('HSET', key, 'window', slow and window + 1 / window or window + 1)
  end
  redis.call('HDEL', key, 'refusals', 'trying_until')
end

-- What a message really cost, told by the balance: in the record, its batch and the sums.
local function record_charge(account, call, estimated, charged)
  local id, turn = string.match(call, '^(.*):(%d+):%d+$')
  local job = id and load_job(id)
  if not job or job['call:' .. turn] ~= call then return end
  redis.call('HSET', job_key(id), 'cost:' .. turn, charged, 'charged:' .. turn, 1)
  redis.call('HINCRBYFLOAT', account_key(account), 'spent', charged - estimated)
  if job.batch ~= '' then
    redis.call('HINCRBYFLOAT', batch_key(job.batch), 'committed', charged - estimated)
  end
  if ENDS[job.state] then
    redis.call('HINCRBY', job_key(id), 'revision', 1)
    redis.call('ZADD', OUTBOX, now, 'job:' .. id)
  end
end

-- The message of a call is over: its slot is free, and its reservation falls with the first
-- balance that was read later. Safe twice.
local function end_call(job, call)
  if call == '' then return end
  redis.call('ZREM', slots_key(job.account), call)
  if redis.call('HEXISTS', reserved_key(job.account), call) == 1 then
    redis.call('ZADD', ended_key(job.account), 'NX', now, call)
  end
end

-- Takes a finished, held or cancelled job out of every queue it may stand in.
local function unschedule(id)
  redis.call('ZREM', AGENDA, id)
  redis.call('HDEL', UNREADABLE, id)
end

-- Puts a job that had been set aside, and can be read now, back where its state says. Who owned it
-- was told then that it is lost; who owns it since its step went on, and put it back on the agenda,
-- was not. -> whether it had been set aside
local function restore_set_aside(id, job)
  if redis.call('HDEL', UNREADABLE, id) == 0 then return false end
  if job.state == 'queued' then
    redis.call('LREM', flow_key(job.flow), 0, id)
    enqueue({id}, job.flow, job.batch)
  elseif RUNNING[job.state] and not redis.call('ZSCORE', AGENDA, id) then
    redis.call('HSET', job_key(id), 'owner', '', 'nonce', '', 'lease', 0)
    redis.call('ZADD', AGENDA, now, id)
  end
  return true
end

-- A person wants a job to end; see cancel.lua for what becomes of it. The caller takes a job that
-- waited out of its flow: its state before is kept in job.state_before.
local function request_cancel(id, job)
  if ENDS[job.state] then return 'ENDED' end
  redis.call('HSET', job_key(id), 'cancel_requested', 1)
  local idle = job.owner == '' and not ever_paid(job)
  if job.state ~= 'held' and not idle then return 'REQUESTED' end
  job.state_before = job.state
  unschedule(id)
  end_call(job, job['call:' .. job.turn])
  move(id, job, 'cancelled')
  redis.call('HSET', job_key(id), 'finished_at', now)
  notify(id)
  return 'CANCELLED'
end

-- Lets a job that stood still go on. What has yet to pay takes its turn among the waiting; what
-- has paid goes straight on.
local function resume_job(id, job, to)
  if to == 'preparing' or to == 'generating' then
    move(id, job, 'queued')
    enqueue({id}, job.flow, job.batch)
  else
    move(id, job, to)
    redis.call('ZADD', AGENDA, now, id)
  end
end
