-- prune(before, keep, id, ...) -> {PRUNED | KEPT | GONE, ...}
-- Deletes jobs that ended before a time and whose notification was delivered. The key of each stays
-- as a tombstone with the state at the end, so that a late repetition does not pay again: for keep
-- ms, or for ever (0). A job that has paid is due to be forgotten by the payment journal once its
-- tombstone is gone. Safe twice.
local before, keep = number(ARGV[2]), number(ARGV[3])

local JOURNAL = 'journal_forget:{' .. ns .. '}'

local function prune(id)
  local found = redis.pcall('HMGET', job_key(id), 'state', 'finished_at', 'key', 'fingerprint',
    'batch', 'intents')
  if found.err then return 'KEPT' end
  local state, finished, key, fingerprint, batch, intents = unpack(found)
  if not state then
    redis.call('ZREM', JOBS, id)
    return 'GONE'
  end
  if not ENDS[state] or number(finished) >= before
    or redis.call('ZSCORE', OUTBOX, 'job:' .. id) then return 'KEPT' end
  if key and key ~= '' then
    local idem = idempotency_key(key)
    redis.call('SET', idem, id .. '|' .. fingerprint .. '|' .. state)
    if keep > 0 then redis.call('PEXPIRE', idem, keep) end
  end
  if keep > 0 and number(intents) > 0 then redis.call('ZADD', JOURNAL, now + keep, id) end
  count_job({batch = batch or ''}, 'n:' .. state, -1)
  if batch and batch ~= '' then
    redis.call('ZREM', rows_key(batch), id)
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
