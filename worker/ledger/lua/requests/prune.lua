-- prune(before, keep, id, ...) -> {PRUNED | KEPT | GONE, ...}
-- Deletes jobs that ended before a time and whose notification was delivered. The key of each stays
-- as a tombstone with the state at the end, so that a late repetition does not pay again: for keep
-- ms, or for ever (0). The journal's entries of a job that has paid are to be deleted after its
-- tombstone. The rows of a batch are kept together until the last of them has ended before the
-- time. A negative keep deletes nothing: the reply says what would be deleted. Safe twice.
local before, keep = number(ARGV[2]), number(ARGV[3])

local JOURNAL = 'journal_forget:{' .. ns .. '}'

require_type('zset', JOBS, JOURNAL)
require_type('hash', META, COUNTS, UNREADABLE)

local is_kept = {}

-- Whether a batch keeps all its rows: it is not complete, has a row that has not ended or that
-- ended later, or its index is still to be written.
local function keeps_rows(batch)
  if is_kept[batch] == nil then
    local found = redis.pcall('HMGET', batch_key(batch), 'created_at', 'sealed', 'finished_at')
    local exists = not found.err and found[1]
    is_kept[batch] = exists and (found[2] ~= '1' or number(found[3]) >= before) or
      redis.call('ZSCORE', OUTBOX, 'index:' .. batch) and true or false
    for state, _ in pairs(STATES) do
      local is_open = exists and not ENDS[state]
      if is_open and number(redis.call('HGET', batch_key(batch), 'n:' .. state)) > 0 then
        is_kept[batch] = true
      end
    end
  end
  return is_kept[batch]
end

-- Leaves a key as a tombstone, unless it names another job.
local function leave_tombstone(key, id, fingerprint, state)
  local idem = idempotency_key(key)
  local known = redis.pcall('GET', idem)
  if type(known) == 'string' and string.match(known, '^[^|]*') ~= id then return end
  redis.call('SET', idem, id .. '|' .. fingerprint .. '|' .. state)
  if keep > 0 then redis.call('PEXPIRE', idem, keep) end
end

local function prune(id)
  local found = redis.pcall('HMGET', job_key(id), 'state', 'finished_at', 'key', 'fingerprint',
    'batch', 'intents', 'content', 'replaced_by', 'lines', 'row_key')
  if found.err then return 'KEPT' end
  local state, finished, key, fingerprint, batch, intents, content, replaced_by, lines, row_key =
    unpack(found)
  if not state then
    if keep < 0 then return 'GONE' end
    redis.call('ZREM', JOBS, id)
    return 'GONE'
  end
  if not ENDS[state] or number(finished) >= before
    or redis.call('ZSCORE', OUTBOX, 'job:' .. id) then return 'KEPT' end
  if batch and batch ~= '' and keeps_rows(batch) then return 'KEPT' end
  if keep < 0 then return 'PRUNED' end
  if key and key ~= '' then leave_tombstone(key, id, fingerprint, state) end
  if batch and batch ~= '' then
    local asked = content or fingerprint
    for _, name in ipairs({'batch:' .. batch .. ':' .. asked, row_key or nil}) do
      if redis.call('EXISTS', idempotency_key(name)) == 1 then
        leave_tombstone(name, id, asked, state)
      end
    end
  end
  if keep > 0 and number(intents) > 0 then redis.call('ZADD', JOURNAL, now + keep, id) end
  local job = {batch = batch or '', replaced_by = replaced_by or ''}
  count_job(job, 'n:' .. state, -1)
  if is_in_batch(job) then
    redis.call('ZREM', rows_key(batch), id)
    for _, name in ipairs(lines and redis.call('HKEYS', job_key(id)) or {}) do
      local line = string.match(name, '^line:(.*)$')
      if line then redis.call('ZREM', rows_key(batch), line_member(id, line)) end
    end
    increment(batch_key(batch), 'pruned', 1)
  end
  forget_session(id)
  redis.call('ZREM', JOBS, id)
  redis.call('DEL', job_key(id))
  return 'PRUNED'
end

local out = {}
for at = 4, #ARGV do out[#out + 1] = prune(ARGV[at]) end
return out
