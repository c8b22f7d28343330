-- Paid messages, and the account and batch that pay for them.

-- Whether the current turn of the job has a message that was, or may have been, sent.
local function turn_is_paid(job)
  return job['call:' .. job.turn] ~= ''
end

local function ever_paid(job)
  return number(job.paid) > 0
end

-- Widens an account's window of messages in flight after the API accepted one: by one message up to
-- the threshold of the last 429, from there by one message for each full window. The window grows
-- only while it is used up.
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

-- Replaces the estimated cost of a message by what the balance shows that it cost: in the record,
-- in the account's and in the batch's sums. A job that has ended is notified again with that cost.
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

-- Frees the slot of a message that is over. Its reservation stays until a balance is read that is
-- newer than this. Safe twice.
local function end_call(job, call)
  if call == '' then return end
  redis.call('ZREM', slots_key(job.account), call)
  if redis.call('HEXISTS', reserved_key(job.account), call) == 1 then
    redis.call('ZADD', ended_key(job.account), 'NX', now, call)
  end
end
