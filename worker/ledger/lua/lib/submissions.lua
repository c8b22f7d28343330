-- New jobs: their records, and their places in indexes, counters and flows.
--
-- A row of a batch has one current job; the set rows:{ns}:<batch> has those jobs, with the row's
-- number as the score. Rows of equal content share a job: the first is in the job's record, and each
-- further one is a line of its own, a member <job>#<line> of the set.
--   job  content: the hash of what the row requests, if the fingerprint is another one
--        manifest, claim: the manifest of its row, and <submission>:<row> that named it last
--        line: the payload of its row, where the job was redone with another one
--        lines: 1 if there are further lines; line:<line>: the payload of each
--        row_key: the key of its row, if the job has another one
--        replaced_by: the job that the row has now

-- What a script's new jobs add to each index, written once for all of them by put_in_place.
local added = {index = {}, rows = {}, flows = {}, checked = {}}

local function group(groups, name)
  groups[name] = groups[name] or {}
  return groups[name]
end

-- Checks the keys that the jobs of a flow share, once for all of them.
local function check_places(job)
  if added.checked[job.flow] then return end
  if job.batch ~= '' then
    require_type('hash', batch_key(job.batch))
    require_type('zset', rows_key(job.batch))
  end
  require_type('list', flow_key(job.flow))
  added.checked[job.flow] = true
end

-- Writes the record of a new job under an id that no job has.
local function write_job(id, job)
  redis.call('HSET', job_key(id), 'v', RECORD_VERSION, 'id', id, 'key', job.key,
    'fingerprint', job.fingerprint, 'flow', job.flow, 'batch', job.batch, 'state', 'queued',
    'turn', 1, 'paid', 0, 'fence', 0, 'created_at', now, 'entered_at', now, 'row', job.row,
    unpack(flat_list(job.fields)))

  local index = added.index
  index[#index + 1], index[#index + 2] = now, id
  local rows = group(added.rows, job.batch)
  rows[#rows + 1], rows[#rows + 2] = job.row, id
  local flow = group(added.flows, job.flow)
  flow.batch = job.batch
  flow[#flow + 1] = id
  if job.fields.follows then append_to_chain(id) end
end

local function put_in_place()
  if #added.index > 0 then redis.call('ZADD', JOBS, unpack(added.index)) end
  for batch, rows in pairs(added.rows) do
    if batch ~= '' then
      redis.call('ZADD', rows_key(batch), unpack(rows))
      redis.pcall('HDEL', batch_key(batch), 'ended')
    end
    count_job({batch = batch}, 'n:queued', #rows / 2)
  end
  for flow, ids in pairs(added.flows) do enqueue(ids, flow, ids.batch) end
end

-- Runs a function for each job of a list -> a flat list of its two results for each. If it fails at
-- a job, the jobs before that one are still put in place.
local function for_each_job(list, write)
  require_type('zset', JOBS, FLOWS)
  require_type('hash', META)
  local out = {}
  for _, job in ipairs(list) do
    local fine, verdict, id = pcall(write, job)
    if not fine then
      put_in_place()
      error(verdict)
    end
    out[#out + 1], out[#out + 2] = verdict, id
  end
  put_in_place()
  return out
end

local function line_member(id, line) return id .. '#' .. line end

-- The further lines of a job, as a flat list of names and payloads.
local function lines_of(job)
  local found = {}
  if job.lines == '' then return found end
  for name, value in pairs(job) do
    if string.sub(name, 1, 5) == 'line:' then
      found[#found + 1], found[#found + 2] = string.sub(name, 6), value
    end
  end
  return found
end

-- Makes a job one that no row of its batch has any more: the counters of the batch leave it out,
-- while its payments still count. `job` is its record.
local function replace_job(id, job, by)
  local batch = batch_key(job.batch)
  increment(batch, 'n:' .. job.state, -1)
  if job.state == 'held' then increment(batch, 'h:' .. job.reason, -1) end
  redis.call('ZREM', rows_key(job.batch), id)
  local lines = lines_of(job)
  for at = 1, #lines, 2 do
    redis.call('ZREM', rows_key(job.batch), line_member(id, lines[at]))
  end
  increment(batch, 'revised', 1)
  redis.call('HSET', job_key(id), 'replaced_by', by, 'v', RECORD_VERSION)
  job.replaced_by = by
end
