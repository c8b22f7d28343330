-- due(n, redispatch_after, room, admit, lease, prepare, places) -> {id, state, id, state, ...}
-- The jobs for which the ticker sends wake-up messages now: due jobs of the agenda first, then
-- queued jobs, from the flows in the order of their virtual time.
--   n      the most jobs in one call
--   redispatch_after  ms until a job that no worker took is returned again
--   room   free places in the Celery queue
--   admit    the most jobs that are about to pay or generating
--   prepare  the most jobs that are preparing and have a source, which is the server of their files or
--            the job whose session they wait for: the whole number for high priority, a part of it for
--            the others
--   places   the most jobs that are preparing or generating, so that workers are free for polls
-- A job whose image server is slow, or that waits for the session of another job, counts only for
-- `prepare` and `places`, and few jobs of one such server or session run at a time. A job without a source,
-- such as one whose image is in the media store, prepares quickly and does not count for `prepare`. A
-- job that is settling counts for no limit.
-- An entry of the agenda is put off, never removed, so a lost wake-up message costs only that time.
-- A flow that ran empty keeps its virtual time, so that refilling it gains no priority.
local n, redispatch_after, room, admit, lease =
  number(ARGV[2]), number(ARGV[3]), number(ARGV[4]), number(ARGV[5]), number(ARGV[6])
local prepare, places = number(ARGV[7]), number(ARGV[8])
local PREPARE_SHARE = {high = 1, normal = 0.75, low = 0.5}
local SLOW = 10000   -- ms of preparing after which a job does not count as about to pay
local SLOW_JOBS = 4  -- jobs of one slow source that may prepare at a time
local LOOK_AHEAD = 100  -- jobs of a flow that are looked through for one that may start

-- All that can fail is read before the first write.
require_type('zset', FLOWS, SCHEDULED)
require_type('hash', META)
n = math.min(n, room)
local due_ids = n > 0 and redis.call('ZRANGEBYSCORE', AGENDA, '-inf', now, 'LIMIT', 0, n) or {}
local slow_ids = redis.call('ZRANGEBYSCORE', PREPARING, '-inf', now - SLOW)
local fetching = redis.call('SCARD', FETCHING)
local preparing, generating = unpack(redis.call('HMGET', COUNTS, 'n:preparing', 'n:generating'))
preparing, generating = number(preparing or ''), number(generating or '')

-- 1. The tick: note when it was, and start the batches whose time has come.
-- Without a tick for half a lease, Redis was away or frozen, and healthy owners could not renew
-- their leases. They get one more lease for that before others may claim their jobs.
local last = number(meta.last_tick)
if last > 0 and now - last > lease / 2 then
  redis.call('HSET', META, 'grace_until', now + lease)
end
redis.call('HSET', META, 'last_tick', now, 'admit', admit)
local outage_grace_until = number(redis.call('HGET', META, 'grace_until'))

start_scheduled_batches()

-- Pauses a batch when the last job of its pilot is dispatched and others wait.
local function count_pilot(batch)
  if redis.call('HEXISTS', batch_key(batch), 'pilot') == 0 then return end
  if increment(batch_key(batch), 'pilot', -1) > 0 then return end
  redis.call('HDEL', batch_key(batch), 'pilot')
  local waiting = redis.call('HGET', batch_key(batch), 'sealed') ~= '1'
  for priority, _ in pairs(PRIORITY_WEIGHTS) do
    waiting = waiting or redis.call('EXISTS', flow_key(batch .. ':' .. priority)) == 1
  end
  if waiting then pause_batch(batch) end
end

-- Remembers since when, and why, no job has started although jobs wait.
local function record_blockage(why, source)
  if not why then return redis.call('HDEL', META, 'blocked_since', 'blocked_by', 'blocked_source') end
  redis.call('HSETNX', META, 'blocked_since', now)
  redis.call('HSET', META, 'blocked_by', why, 'blocked_source', source or '')
end

local function jobs_wait()
  for _, flow in ipairs(redis.call('ZRANGE', FLOWS, 0, -1)) do
    if redis.call('EXISTS', flow_key(flow)) == 1 then return true end
  end
  return false
end

-- Polls are left to the workers that claim them in groups (claim_polls.lua), as long as one does.
local polls_are_claimed = now - number(meta.polls_claimed_at) < POLL_GRACE

local out = {}
if n <= 0 then
  record_blockage(jobs_wait() and 'queue')
  return out
end

-- 2. The agenda: return the jobs that are due, and put each entry off.
for _, id in ipairs(due_ids) do
  local found = redis.pcall('HMGET', job_key(id), 'state', 'owner')
  local state, owner = found[1], found[2]
  if found.err or state and not STATES[state]
    or not state and redis.call('EXISTS', job_key(id)) == 1 then
    load_job(id)  -- sets it aside with the reason, unless a newer version wrote it
    redis.call('ZADD', AGENDA, 'XX', now + redispatch_after, id)
  elseif not state or not RUNNING[state] then
    redis.call('ZREM', AGENDA, id)
  elseif owner and owner ~= '' and now < outage_grace_until then
    put_on_agenda(id, outage_grace_until)
  elseif state == 'rendering' and polls_are_claimed and tonumber(redis.pcall('ZSCORE', POLLS, id)) then
    put_on_agenda(id, now + POLL_GRACE)
  else
    put_on_agenda(id, now + redispatch_after)
    out[#out + 1] = id
    out[#out + 1] = state
  end
end

-- The server of the job's image, or the job whose session a follow-up waits for.
local function source_of(id)
  local source, follows = unpack(redis.pcall('HMGET', job_key(id), 'source', 'follows'))
  if source and source ~= '' then return source end
  return follows or ''
end

-- Counts the jobs that have been waiting long for their source. -> number, by source
local function slow_jobs()
  local count, by_source = 0, {}
  for _, id in ipairs(slow_ids) do
    local found = redis.pcall('HMGET', job_key(id), 'owner', 'session_id', 'tries_of', 'follows')
    local owner, session, tries_of, follows = unpack(found)
    local fetches = (not session or session == '') and (owner and owner ~= '' or tries_of == 'source')
    local source = (fetches or follows and follows ~= '') and source_of(id) or ''
    if source ~= '' then
      count = count + 1
      by_source[source] = (by_source[source] or 0) + 1
    end
  end
  return count, by_source
end

-- Takes the first job of a flow that may start. -> id, or nil and whether jobs wait in the flow
-- Jobs of the sources in `full` may not start. Without `may_fetch`, only jobs without a source may.
local function take(flow, full, may_fetch)
  local key = flow_key(flow)
  if may_fetch and next(full) == nil then
    local id = redis.pcall('LPOP', key)
    if type(id) ~= 'table' then return id or nil, false end
    set_aside(key, 'its key holds no flow')
    return nil, false
  end
  local ids = redis.pcall('LRANGE', key, 0, LOOK_AHEAD - 1)
  if ids.err then
    set_aside(key, 'its key holds no flow')
    return nil, false
  end
  for _, id in ipairs(ids) do
    local source = source_of(id)
    if source == '' or may_fetch and not full[source] then
      redis.call('LREM', key, 1, id)
      return id, true
    end
  end
  return nil, #ids > 0
end

-- 3. The flows: start queued jobs in the places that are left, while the limits allow it.
local slow, by_source = slow_jobs()
local full, slowest = {}, nil
for source, jobs in pairs(by_source) do
  if jobs >= SLOW_JOBS then full[source] = true end
  if not slowest or jobs > by_source[slowest] then slowest = source end
end

-- Flows from which no job may start now stay at the front, in their order: `passed` of them.
local passed, passed_flows, started, why = 0, {}, 0, nil
local virtual_time_before = meta.virtual_time
while #out / 2 < n do
  if preparing + generating >= places then
    why = 'places'
    break
  end
  if preparing - slow + generating >= admit then
    why = 'streams'
    break
  end
  local head = redis.call('ZRANGE', FLOWS, passed, passed, 'WITHSCORES')
  if #head == 0 then break end
  local flow, at = head[1], number(head[2])
  local priority = string.match(flow, '[^:]*$')
  local most = math.max(1, math.floor(prepare * (PREPARE_SHARE[priority] or 0.75)))
  local id, waits = take(flow, full, fetching < most)
  if not id and waits then
    why = 'preparing'
    passed = passed + 1
    passed_flows[passed] = flow
  elseif not id then
    redis.call('ZREM', FLOWS, flow)
  else
    meta.virtual_time = at
    redis.call('ZINCRBY', FLOWS, 1 / (PRIORITY_WEIGHTS[priority] or 1), flow)
    local job = load_job(id)
    if job and job.state == 'queued' then
      admit_in_batch(id, job, flow)
      move(id, job, 'preparing')
      put_on_agenda(id, now + redispatch_after)
      preparing = preparing + 1
      if has_source(job) then fetching = fetching + 1 end
      started = started + 1
      out[#out + 1] = id
      out[#out + 1] = 'preparing'
      if job.batch ~= '' and job.started_at == '' and not is_single(flow) then
        count_pilot(job.batch)
      end
    end
  end
end
-- 4. The end: put the flows that were passed over in their order, and record what kept jobs waiting.
if virtual_time_before ~= meta.virtual_time then
  redis.call('HSET', META, 'virtual_time', meta.virtual_time)
end
-- Their virtual time is raised to the present one, so that they gain no priority by having waited.
for _, flow in ipairs(passed_flows) do
  redis.call('ZADD', FLOWS, 'XX', 'GT', virtual_time(), flow)
end
if started > 0 or not jobs_wait() then
  record_blockage(nil)
else
  record_blockage(why or 'queue', slowest)
end
return out
