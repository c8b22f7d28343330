-- Flows: where queued jobs wait. Each batch has a flow for each priority, named <batch>:<priority>;
-- single jobs wait in single:<priority>. The set FLOWS holds the flows from which jobs may start,
-- with their virtual time as the score. SCHEDULED holds the batches that may not start yet, with the
-- server's time at which they may.

local function virtual_time() return number(meta.virtual_time) end

local function is_single(flow) return string.sub(flow, 1, 7) == 'single:' end

-- Whether no job of a batch may start from its flows: the batch is paused, may not start yet, or
-- shares one session and one of its jobs is working in that session.
local function is_closed(batch)
  if batch == '' then return false end
  local paused, admitted, not_before =
    unpack(redis.pcall('HMGET', batch_key(batch), 'paused', 'admitted', 'not_before'))
  return paused == '1' or (admitted and admitted ~= '') or number(not_before or '') > server_time
end

-- Appends jobs to their flow. A flow that becomes active starts at the current virtual time, so that
-- the time during which it was empty gives it neither an advantage nor a disadvantage. A closed batch
-- does not hold back a job of it that waits among the single jobs.
local function enqueue(ids, flow, batch)
  redis.call('RPUSH', flow_key(flow), unpack(ids))
  if is_single(flow) or not is_closed(batch) then
    redis.call('ZADD', FLOWS, 'NX', virtual_time(), flow)
  end
end

local function deactivate_flows(batch)
  for priority, _ in pairs(PRIORITY_WEIGHTS) do
    redis.call('ZREM', FLOWS, batch .. ':' .. priority)
  end
end

-- Activates the flows of a batch in which jobs wait, unless the batch is closed.
local function activate_flows(batch)
  if is_closed(batch) then return end
  for priority, _ in pairs(PRIORITY_WEIGHTS) do
    local flow = batch .. ':' .. priority
    if redis.call('EXISTS', flow_key(flow)) == 1 then
      redis.call('ZADD', FLOWS, 'NX', virtual_time(), flow)
    end
  end
end

-- Activates the flows of the batches whose time has come.
local function start_scheduled_batches()
  for _, batch in ipairs(redis.call('ZRANGEBYSCORE', SCHEDULED, '-inf', server_time)) do
    redis.call('ZREM', SCHEDULED, batch)
    activate_flows(batch)
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
