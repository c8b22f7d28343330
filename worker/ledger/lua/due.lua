-- due(n, redispatch_after, room, admit, lease) -> {id, state, id, state, ...}
-- What the ticker hands to Celery now. Agenda first, then the flows by virtual time.
--   n      the most ids in one call          room   free places in the Celery queue
--   redispatch_after  ms until an id comes up again     admit  the most jobs from prepare to settle
-- Agenda entries are re-armed, never removed: a lost hint costs only that time. A flow that ran
-- empty stays until its virtual time comes: what it had beyond its share, it cannot have again by
-- filling up anew.
local n, redispatch_after, room, admit, lease =
  number(ARGV[2]), number(ARGV[3]), number(ARGV[4]), number(ARGV[5]), number(ARGV[6])

-- When nobody ticked for half a lease, Redis was away or frozen, and healthy owners, who could
-- not beat either, look dead. They get one lease to show themselves.
local last = number(redis.call('HGET', META, 'last_tick'))
if last > 0 and now - last > lease / 2 then
  redis.call('HSET', META, 'grace_until', now + lease)
end
redis.call('HSET', META, 'last_tick', now, 'admit', admit)
local outage_grace_until = number(redis.call('HGET', META, 'grace_until'))

-- A batch on trial pauses when the last of its first jobs is handed out, if others wait.
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

n = math.min(n, room)
local out = {}
if n <= 0 then return out end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', AGENDA, '-inf', now, 'LIMIT', 0, n)) do
  local found = redis.pcall('HMGET', job_key(id), 'state', 'owner')
  local state, owner = found[1], found[2]
  if found.err or state and not STATES[state]
    or not state and redis.call('EXISTS', job_key(id)) == 1 then
    load_job(id)
  elseif not state or not RUNNING[state] then
    redis.call('ZREM', AGENDA, id)
  elseif owner and owner ~= '' and now < outage_grace_until then
    redis.call('ZADD', AGENDA, outage_grace_until, id)
  else
    redis.call('ZADD', AGENDA, now + redispatch_after, id)
    out[#out + 1] = id
    out[#out + 1] = state
  end
end

local counts = redis.call('HMGET', COUNTS, 'n:preparing', 'n:generating', 'n:settling')
local admitted = number(counts[1]) + number(counts[2]) + number(counts[3])
while #out / 2 < n and admitted < admit do
  local head = redis.call('ZRANGE', FLOWS, 0, 0, 'WITHSCORES')
  if #head == 0 then break end
  local flow, at = head[1], number(head[2])
  local id = redis.pcall('LPOP', flow_key(flow))
  if type(id) == 'table' then
    set_aside(flow_key(flow), 'it is no flow')
    id = nil
  end
  if not id then
    redis.call('ZREM', FLOWS, flow)
  else
    redis.call('HSET', META, 'virtual_time', at)
    redis.call('ZINCRBY', FLOWS, 1 / (PRIORITY_WEIGHTS[string.match(flow, '[^:]*$')] or 1), flow)
    local job = load_job(id)
    if job and job.state == 'queued' then
      begin_batch_turn(id, job, flow)
      move(id, job, 'preparing')
      redis.call('ZADD', AGENDA, now + redispatch_after, id)
      admitted = admitted + 1
      out[#out + 1] = id
      out[#out + 1] = 'preparing'
      if job.batch ~= '' and job.started_at == '' and not is_single(flow) then
        count_pilot(job.batch)
      end
    end
  end
end
return out
