-- The time, records and counters: what nearly every script uses. clock() and the constants of
-- constants.py are defined before this file.

-- The fields of META that scripts need, as they were when the script began.
local meta = {}
do
  local names = {'clock_offset', 'last_tick', 'suspect', 'journal_id', 'virtual_time',
    'polls_claimed_at', 'blocked_since'}
  local found = redis.pcall('HMGET', META, unpack(names))
  meta.is_readable = not found.err
  for at, name in ipairs(names) do meta[name] = found[at] or nil end
end

-- The difference between the clock of the records and the server's time. It makes up for changes of the
-- server's time, which workers notice (worker/runtime/server_clock.py).
local clock_offset = tonumber(meta.clock_offset) or 0

local server_time = clock()
local now = server_time + clock_offset

-- From this crash on, a job is a suspect: see claim.lua.
local SUSPECT_CRASHES = 2

-- Takes a record that cannot be read off the agenda and stores the reason: for a job under its id,
-- for anything else under its key. If the reason cannot be stored, the record stays on the agenda.
local function set_aside(id, why)
  local stored = redis.pcall('HSET', UNREADABLE, id, why)
  if type(stored) == 'number' then redis.call('ZREM', AGENDA, id) end
end

-- Refuses the call if one of the keys holds another type. It must precede the first write, because a
-- script that fails keeps what it has written. A key is looked up once in a call, however many jobs.
local checked_types = {[META] = meta.is_readable and 'hash' or nil}
local function require_type(expected, ...)
  for _, key in ipairs({...}) do
    if checked_types[key] ~= expected then
      local found = redis.call('TYPE', key).ok
      if found ~= expected and found ~= 'none' then
        error({err = 'WRONGTYPE ' .. key .. ' holds a ' .. found .. ', not a ' .. expected})
      end
      checked_types[key] = expected
    end
  end
end

-- Writes to a key that only a display or an estimate depends on. If the key holds another type, it is
-- left unchanged and set aside, and the script continues.
local function try(command, key, ...)
  local reply = redis.pcall(command, key, ...)
  if type(reply) == 'table' and reply.err then set_aside(key, 'its key holds another type') end
end

local INTEGER_FIELDS = {turn = true, fence = true, entered_at = true, paid = true, intents = true,
                        attempts = true, crashes = true, revision = true, lease = true,
                        not_before = true}
local REQUIRED_FIELDS = {'turn', 'fence', 'entered_at', 'flow'}

local function is_integer(text)
  return #text < 16 and (text == '0' or string.find(text, '^%-?[1-9]%d*$') ~= nil)
end

-- Why the scripts cannot use a job's record, or nil. A batch whose spending cannot be read makes
-- the records of its jobs unusable too.
local function why_unreadable(job)
  if not STATES[job.state] then return "its state is '" .. job.state .. "'" end
  for _, name in ipairs(REQUIRED_FIELDS) do
    if job[name] == '' then return 'it has no ' .. name end
  end
  for name, value in pairs(job) do
    if (INTEGER_FIELDS[name] or string.sub(name, 1, 3) == 'ms:') and not is_integer(value) then
      return name .. " is '" .. string.sub(value, 1, 50) .. "', not a number"
    end
  end
  if number(job.turn) < 1 or number(job.turn) > MAX_TURNS then return 'turn is ' .. job.turn end
  if job.batch == '' then return nil end
  local committed = redis.pcall('HGET', batch_key(job.batch), 'committed')
  if type(committed) == 'table' then return "its batch's key holds no record" end
  if committed and not string.find(committed, '^%-?%d+%.?%d*$') then
    return "its batch has spent '" .. string.sub(committed, 1, 50) .. "', not a number"
  end
end

-- Changes of hashes and counters that are not written yet: by key, a table of fields. And jobs whose
-- place on the agenda is not written yet, with the times at which they are due.
local unwritten, uncounted, unplaced = {}, {}, {}
local increment  -- defined below

local function flat_list(fields)
  local flat = {}
  for name, value in pairs(fields) do flat[#flat + 1], flat[#flat + 2] = name, value end
  return flat
end

-- Writes the changes of one hash, before it is read.
local function write_hash(key)
  local fields = unwritten[key]
  unwritten[key] = nil
  if fields and next(fields) then redis.call('HSET', key, unpack(flat_list(fields))) end
end

-- Writes all changes: one command for each hash and counter. Each script does so at its end.
local function write_changes()
  local places = {}
  for id, at in pairs(unplaced) do places[#places + 1], places[#places + 2] = at, id end
  if #places > 0 then redis.call('ZADD', AGENDA, unpack(places)) end
  for key, counters in pairs(uncounted) do
    for field, by in pairs(counters) do
      if by ~= 0 then increment(key, field, by) end
    end
  end
  for key, _ in pairs(unwritten) do write_hash(key) end
  unwritten, uncounted, unplaced = {}, {}, {}
end

-- Puts a job on the agenda, or moves it there, at the end of the script.
local function put_on_agenda(id, at) unplaced[id] = at end

-- Takes a job that has ended or is held off the agenda.
local function take_off_agenda(id)
  unplaced[id] = nil
  redis.call('ZREM', AGENDA, id)
  redis.pcall('HDEL', UNREADABLE, id)
end

local function count(key, field, by)
  uncounted[key] = uncounted[key] or {}
  uncounted[key][field] = (uncounted[key][field] or 0) + by
end

-- Changes fields of a hash, and of `record`, which was read from it.
local function change_hash(key, record, ...)
  local fields, values = unwritten[key] or {}, {...}
  for at = 1, #values, 2 do
    local name, value = values[at], values[at + 1]
    if type(value) == 'number' then value = string.format('%.17g', value) end
    fields[name], record[name] = value, value
    unwritten[key] = fields
  end
end

-- Changes fields of a job's record, and of `job`, which was read from it.
local function change(id, job, ...) change_hash(job_key(id), job, ...) end

-- Deletes fields of a job's record, and of `job`.
local function remove(id, job, ...)
  local key = job_key(id)
  local fields = unwritten[key] or {}
  for _, name in ipairs({...}) do job[name], fields[name] = nil, nil end
  redis.call('HDEL', key, ...)
end

-- Reads a job's record as a table of strings, absent fields as ''. -> job | nil | nil, why
-- A record that cannot be used is set aside; the reason is the second value. A record that a newer
-- version wrote is not, because the workers of that version can use it.
local function load_job(id)
  write_hash(job_key(id))
  local flat = redis.pcall('HGETALL', job_key(id))
  if not flat.err and #flat == 0 then return nil end
  local job = setmetatable({}, {__index = function() return '' end})
  for i = 1, #flat, 2 do job[flat[i]] = flat[i + 1] end
  local why = flat.err and 'its key holds no record' or why_unreadable(job)
  if not why then return job end
  if number(job.v) <= RECORD_VERSION then set_aside(id, why) end
  return nil, why
end

-- Reads the record of a job that the caller owns under this fence. -> job | nil
local function load_owned(id, fence)
  local job = load_job(id)
  if job and is_owned(job, fence) then return job end
end

-- Adds to a counter -> the sum. A counter that is not a number is left unchanged, its key is set aside,
-- and the script continues.
increment = function(key, field, by)
  local sum = redis.pcall('HINCRBY', key, field, by)
  if type(sum) == 'number' then return sum end
  set_aside(key, field .. ' is not a number')
  return 0
end

-- Whether the job is the current one of a row of a batch.
local function is_in_batch(job)
  return job.batch ~= '' and (job.replaced_by or '') == ''
end

-- Adds to a counter of all jobs and to that of the job's batch.
local function count_job(job, field, by)
  count(COUNTS, field, by)
  if is_in_batch(job) then count(batch_key(job.batch), field, by) end
end
