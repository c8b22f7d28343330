-- Paid messages, and the account and batch that pay for them.

-- Whether the current turn of the job has a message that was, or may have been, sent.
local function turn_is_paid(job)
  return job['call:' .. job.turn] ~= ''
end

local function ever_paid(job)
  return number(job.paid) > 0
end

-- Puts a job into the outbox again: its cost has changed since its end, or it continues after one.
local function notify_again(id, job)
  change(id, job, 'revision', number(job.revision) + 1)
  redis.call('ZADD', OUTBOX, now, 'job:' .. id)
end

-- Widens an account's window of messages in flight after the API accepted one: by two messages up to
-- the threshold of the last 429, but to no more than twice the messages in flight, so that it doubles
-- while they are accepted (as the slow start of TCP does); from there by one for each full window, while
-- all of it is used. A message is in flight for minutes after it was accepted. So if each one widened
-- the window by one, only as many as in the first window could ever wait to be accepted, and the window
-- would not double.
local function widen_window(account)
  local key = account_key(account)
  local window, threshold, refusals, trying =
    unpack(redis.call('HMGET', key, 'window', 'threshold', 'refusals', 'trying_until'))
  window = tonumber(window) or FIRST_WINDOW
  local used = redis.call('ZCARD', slots_key(account))
  if threshold and window >= tonumber(threshold) then
    if used >= math.floor(window) then redis.call('HSET', key, 'window', window + 1 / window) end
  elseif 2 * used > window then
    redis.call('HSET', key, 'window', math.min(window + 2, 2 * used))
  end
  if refusals or trying then redis.call('HDEL', key, 'refusals', 'trying_until') end
end

-- Replaces the estimated cost of a message by what the balance shows that it cost: in the record,
-- in the account's and in the batch's sums. A job that has ended is notified again with that cost.
local function record_charge(account, call, estimated, charged)
  local id, turn = string.match(call, '^(.*):(%d+):%d+:%w+$')
  if not id then id, turn = string.match(call, '^(.*):(%d+):%d+$') end  -- of older versions
  local job = id and load_job(id)
  if not job or job['call:' .. turn] ~= call then return end
  redis.call('HSET', job_key(id), 'cost:' .. turn, charged, 'charged:' .. turn, 1)
  redis.call('HINCRBYFLOAT', account_key(account), 'spent', charged - estimated)
  if job.batch ~= '' then
    redis.call('HINCRBYFLOAT', batch_key(job.batch), 'committed', charged - estimated)
  end
  if ENDS[job.state] then notify_again(id, job) end
end

-- Withdraws the intent of a turn, whose message was certainly not charged: frees its slot and its
-- reservation, and archives the call. The current turn is open again.
local function withdraw(id, job, turn, why)
  local call, cost = job['call:' .. turn], number(job['cost:' .. turn])
  redis.call('ZREM', slots_key(job.account), call)
  redis.call('ZREM', ended_key(job.account), call)
  if redis.call('HDEL', reserved_key(job.account), call) == 1 then
    redis.call('HINCRBYFLOAT', account_key(job.account), 'reserved', -cost)
  end
  if job.batch ~= '' then
    redis.call('HINCRBYFLOAT', batch_key(job.batch), 'committed', -cost)
  end
  redis.call('HDEL', job_key(id), 'call:' .. turn, 'cost:' .. turn, 'before:' .. turn,
    'attempt:' .. turn, 'session:' .. turn, 'previous:' .. turn, 'nth:' .. turn,
    'unsettled:' .. turn)
  if turn == number(job.turn) then
    redis.call('HDEL', job_key(id), 'outcome:' .. turn, 'next_attempt', 'sent_at')
    job['outcome:' .. turn] = nil
  end
  redis.call('HSET', job_key(id), 'released:' .. call, why)
  redis.call('HINCRBY', job_key(id), 'paid', -1)
  job['call:' .. turn] = nil
  job.paid = tostring(number(job.paid) - 1)
end

-- Adds the expected cost of a message to what was spent, and counts it among the messages that were
-- charged since the balance from which costs are measured (see balance.lua).
local function count_charge(account, cost)
  redis.call('HINCRBYFLOAT', account_key(account), 'spent', cost)
  redis.call('HINCRBY', account_key(account), 'mark_settled', 1)
end

-- The turn that was paid by a call, or nil.
local function turn_of(job, call)
  for turn = 1, number(job.turn) do
    if job['call:' .. turn] == call then return turn end
  end
end

-- Whether a call is a paid one of the job.
local function has_call(job, call) return turn_of(job, call) ~= nil end

-- Whether a message is recorded as over, which has freed its slot.
local function has_ended(job, call)
  return call == '' or job['fact:' .. call .. ':ended'] ~= ''
end

-- Frees the slot of a message that is over. Its reservation stays until a later reading of the balance.
-- Safe twice.
local function end_call(job, call)
  if has_ended(job, call) then return end
  redis.call('ZREM', slots_key(job.account), call)
  redis.call('ZADD', ended_key(job.account), 'NX', now, call)
end

-- Records results of a paid message: names and values in turn. The first value of each stays. The
-- fact `ended` frees the message's slot. -> whether one of them was new
local function record_paid_facts(id, job, call, facts)
  local is_new = false
  for at = 1, #facts, 2 do
    local field = 'fact:' .. call .. ':' .. facts[at]
    if facts[at] == 'ended' then end_call(job, call) end
    if job[field] == '' then
      change(id, job, field, facts[at + 1])
      is_new = true
    end
  end
  return is_new
end
