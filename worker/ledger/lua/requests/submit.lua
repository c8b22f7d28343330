-- submit(jobs) -> {verdict, id, verdict, id, ...}
-- Writes new jobs as queued and puts each into its flow. The argument is a JSON list of objects:
--   id, key, fingerprint, flow, batch, row, fields (further fields of the record, as text)
-- OK | DUPLICATE | CONFLICT        (the key is known with another payload)
-- A pruned job leaves its key as a tombstone, `id|fingerprint|state`, so that the key stays known.
-- Safe twice: the second run finds the key, or the id, and answers DUPLICATE.
-- Indexes, counters and flows are written once for all jobs of the call. If the script fails at a
-- job, the jobs before it are put in place nevertheless.
local index, batches, flows = {}, {}, {}

local function group(groups, name)
  groups[name] = groups[name] or {}
  return groups[name]
end

-- Checks the keys that the jobs of a flow share, once for all of them.
local checked = {}
local function check_places(job)
  if checked[job.flow] then return end
  require_type('hash', batch_key(job.batch))
  require_type('zset', rows_key(job.batch))
  require_type('list', flow_key(job.flow))
  checked[job.flow] = true
end

local function write(job)
  local id = job.id
  check_places(job)
  -- SET with GET refuses a key of another type by itself, before it writes.
  if job.key ~= '' then
    local known = redis.call('SET', idempotency_key(job.key),
      id .. '|' .. job.fingerprint, 'NX', 'GET')
    if known then
      local old_id, old_print = string.match(known, '^([^|]*)|([^|]*)')
      if old_print ~= job.fingerprint then return 'CONFLICT', old_id end
      return 'DUPLICATE', old_id
    end
  end
  if redis.call('EXISTS', job_key(id)) == 1 then return 'DUPLICATE', id end

  local fields = {}
  for name, value in pairs(job.fields) do
    fields[#fields + 1], fields[#fields + 2] = name, value
  end
  redis.call('HSET', job_key(id), 'v', 1, 'id', id, 'key', job.key,
    'fingerprint', job.fingerprint, 'flow', job.flow, 'batch', job.batch, 'state', 'queued',
    'turn', 1, 'paid', 0, 'fence', 0, 'created_at', now, 'entered_at', now, 'row', job.row,
    unpack(fields))

  index[#index + 1], index[#index + 2] = now, id
  local rows = group(batches, job.batch)
  rows[#rows + 1], rows[#rows + 2] = job.row, id
  local flow = group(flows, job.flow)
  flow.batch = job.batch
  flow[#flow + 1] = id
  if job.fields.follows then append_to_chain(id) end
  return 'OK', id
end

local function put_in_place()
  if #index > 0 then redis.call('ZADD', JOBS, unpack(index)) end
  for batch, rows in pairs(batches) do
    if batch ~= '' then
      redis.call('ZADD', rows_key(batch), unpack(rows))
      redis.pcall('HDEL', batch_key(batch), 'ended')
    end
    count_job({batch = batch}, 'n:queued', #rows / 2)
  end
  for flow, ids in pairs(flows) do enqueue(ids, flow, ids.batch) end
end

require_type('zset', JOBS, FLOWS, AGENDA)
require_type('hash', META, UNREADABLE)
local out = {}
for _, job in ipairs(cjson.decode(ARGV[2])) do
  local fine, verdict, id = pcall(write, job)
  if not fine then
    put_in_place()
    error(verdict)
  end
  out[#out + 1], out[#out + 2] = verdict, id
end
put_in_place()
return out
