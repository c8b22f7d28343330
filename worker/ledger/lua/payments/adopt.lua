-- adopt(id, fence, replaces, attempt) -> OK | LOST | BUSY | PAID | ENDED | GONE
-- Writes into a job's record a payment that the journal has and the record does not: its message,
-- session and account, and its price into the sums of account and batch.
--   fence     the owner's, whose commit then moves the job; '' for a recovery, which moves a job that
--             no worker owns to settling
--   replaces  the call of the current turn that was not charged and can never be sent, or ''
--   attempt   JSON of texts: number, turn, call, session_id, task_id, account, baseline, price,
--             sent_at, shared; and `earlier`: a list of number, turn, call, price, session_id, outcome
--             of those before it, which may include the call of the current turn
-- Safe twice.
local id, fence, replaces, attempt = ARGV[2], ARGV[3], ARGV[4], cjson.decode(ARGV[5])
local job = load_job(id)
if not job then return 'GONE' end
for turn = 1, number(job.turn) do
  if job['call:' .. turn] == attempt.call then return 'OK' end
end
if fence ~= '' then
  if not is_owned(job, fence) then return 'LOST' end
elseif job.owner ~= '' and number(job.lease) > now then
  return 'BUSY'
end
if ENDS[job.state] then return 'ENDED' end
require_writable(id, job, nil, attempt.account, attempt.session_id)
-- The outcome of the current turn, if this payment was made in a later one.
local function outcome_before(call)
  for _, earlier in ipairs(attempt.earlier) do
    if earlier.call == call and number(attempt.turn) > number(job.turn) then return earlier.outcome end
  end
end

local call = job['call:' .. job.turn]
if call ~= '' then
  local outcome = outcome_before(call)
  if call == replaces then
    withdraw(id, job, number(job.turn), 'never_sent')
    forget_last_message(job['session:' .. job.turn], call)
  elseif outcome then
    end_call(job, call)
    change(id, job, 'outcome:' .. job.turn, outcome)
  else
    return 'PAID'
  end
end

-- These messages may have been charged before or after the last reading of the balance.
redis.call('HSET', account_key(attempt.account), 'mark_exact', 0)

local function write_payment(turn, payment, outcome)
  redis.call('HSET', job_key(id), 'call:' .. turn, payment.call, 'cost:' .. turn, payment.price,
    'outcome:' .. turn, outcome, 'attempt:' .. turn, payment.number,
    'session:' .. turn, payment.session_id)
  redis.call('HINCRBY', job_key(id), 'paid', 1)
  redis.call('HINCRBY', job_key(id), 'intents', 1)
  if job.batch ~= '' then
    redis.call('HINCRBYFLOAT', batch_key(job.batch), 'committed', payment.price)
  end
end

if fence == '' then
  if job.state == 'queued' then redis.call('LREM', flow_key(job.flow), 1, id) end
  move(id, job, 'settling')
  redis.call('HSET', job_key(id), 'owner', '', 'nonce', '', 'lease', 0, 'not_before', 0,
    'message', '', 'remedy', '')
  redis.call('ZADD', AGENDA, now, id)
end
if job.session_id ~= attempt.session_id then release_session(id, job) end

local turn = tostring(math.max(number(job.turn), number(attempt.turn)))
for _, earlier in ipairs(attempt.earlier) do
  if number(earlier.turn) < number(turn) and job['call:' .. earlier.turn] == '' then
    write_payment(earlier.turn, earlier, earlier.outcome)
    job['outcome:' .. earlier.turn] = earlier.outcome
    count_charge(attempt.account, earlier.price)
  elseif earlier.outcome == 'pay_again' and job['call:' .. earlier.turn] == earlier.call then
    -- The record is from before the decision, when a question had opened the next turn.
    change(id, job, 'outcome:' .. earlier.turn, earlier.outcome)
  end
end
-- After a turn that was not charged, only a decision to pay again opens another one.
for before = 1, number(turn) - 1 do
  if job['outcome:' .. before] == '' then change(id, job, 'outcome:' .. before, 'pay_again') end
end
write_payment(turn, attempt, 'sent')
redis.call('HSET', reserved_key(attempt.account), attempt.call, attempt.price)
redis.call('HINCRBYFLOAT', account_key(attempt.account), 'reserved', attempt.price)
redis.call('HSET', job_key(id), 'turn', turn, 'sent_at', attempt.sent_at, 'adopted', 1,
  'account', attempt.account, 'session_id', attempt.session_id, 'task_id', attempt.task_id,
  'baseline', attempt.baseline, 'readings', 0, 'last_reading', '', 'uploaded', 1, 'uploading', '')
redis.call('HDEL', job_key(id), 'next_attempt', 'keeper', 'bind_id', 'claim_url', 'draft',
  'timeline', 'reply', 'as_done', 'render_id', 'render_submitted', 'source_url')
job.turn, job['call:' .. turn], job['outcome:' .. turn] = turn, attempt.call, 'sent'
job.session_id, job.account = attempt.session_id, attempt.account

if attempt.session_id ~= '' then
  set_last_message(id, job, attempt.call, attempt.number, number(attempt.sent_at))
  if not read_session(attempt.session_id).holder then
    change_session(attempt.session_id, 'holder', id)
  end
end
if attempt.shared == '1' and job.batch ~= '' then
  redis.call('HSET', job_key(id), 'shared', 1)
  local known = redis.call('HGET', batch_key(job.batch), 'shared:session_id')
  if not known or known == '' then
    local record = load_job(id)
    for _, name in ipairs(SESSION_FIELDS) do
      redis.call('HSET', batch_key(job.batch), 'shared:' .. name, record[name])
    end
  end
end
return 'OK'
