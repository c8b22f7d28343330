-- due(n, redispatch_after, room, admit, lease) -> {id, state, id, state, ...}
-- The jobs for which the ticker sends wake-up messages now: due jobs of the agenda first, then
-- queued jobs, from the flows in the order of their virtual time.
--   n      the most jobs in one call
--   redispatch_after  ms until a job that no worker took is returned again
--   room   free places in the Celery queue
--   admit  the most jobs from preparing to settling
-- An entry of the agenda is put off, never removed, so a lost wake-up message costs only that time.
-- A flow that ran empty keeps its virtual time, so that refilling it gains no priority.
local n, redispatch_after, room, admit, lease =
  number(ARGV[2]), number(ARGV[3]), number(ARGV[4]), number(ARGV[5]), number(ARGV[6])

-- Without a tick for half a lease, Redis was away or frozen, and healthy owners could not renew
-- their leases. They get one more lease for that before others may claim their jobs.
local last = number(redis.call('HGET', META, 'last_tick'))
if last > 0 and now - last > lease / 2 then
  redis.call('HSET', META, 'grace_until', now + lease)
end
redis.call('HSET', META, 'last_tick', now, 'admit', admit)
local outage_grace_until = number(redis.call('HGET', META, 'grace_until'))

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

n = math.min(n, room)
local out = {}
if n <= 0 then return out end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', AGENDA, '-inf', now, 'LIMIT', 0, n)) do
  local found = redis.pcall('HMGET', job_key(id), 'state', 'owner')
  local state, owner = found[1], found[2]
  if found.err or state and not STATES[state]
    or not state and redis.call('EXISTS', job_key(id)) == 1 then
    load_job(id)  -- sets it aside with the reason
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

local admitted = 0
for state, _ in pairs(SESSION_STATES) do
  admitted = admitted + number(redis.call('HGET', COUNTS, 'n:' .. state))
end
while #out / 2 < n and admitted < admit do
  local head = redis.call('ZRANGE', FLOWS, 0, 0, 'WITHSCORES')
  if #head == 0 then break end
  local flow, at = head[1], number(head[2])
  local id = redis.pcall('LPOP', flow_key(flow))
  if type(id) == 'table' then
    set_aside(flow_key(flow), 'its key holds no flow')
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
