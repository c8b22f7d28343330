-- begin_paid(id, fence, turn, call, cost, lease, cap, session, attempt, journal, field, value, ...)
--   -> OK previous | a refusal
-- Writes the intent to pay, before the message is sent. Each turn has one intent: while it has one, any
-- other call is refused, so that a worker that was frozen past its lease cannot pay.
--   LOST        not the owner, or the record names another session
--   CANCELLED   cancellation was requested
--   ALREADY     this turn has a message
--   CLOSED      this is not the current turn, or the one before it does not allow another
--   NO_BALANCE  the balance was never read  NO_CREDIT  the account cannot pay for it
--   PLAN        the account's plan does not allow exports
--   BUDGET      the batch may not spend it  COOLING ms the account pauses after a 429
--   SESSION_BUSY, SESSION_BLOCKED  another job uses the session, or is ahead in its queue
--   OTHER_JOURNAL  the ledger belongs to another journal than this one; without one, it gets this one
--   NO_SLOT     the account's messages in flight are at their cap, or at its window; or after a 429
--               another message is testing whether one more is accepted
-- `previous` is the journal entry of another job's message before this one in the session: that
-- job's id and the number of its attempt, or ''.
-- The fields are facts of the step, such as the baseline, which are written with the intent.
-- It reserves `cost`, or what the account's clips were seen to cost if that is more.
-- Safe twice: the same call gets OK again. It writes again too, so that a confirmation of writes on
-- the same connection covers it.
local id, fence, turn, call, cost, lease, cap =
  ARGV[2], ARGV[3], ARGV[4], ARGV[5], number(ARGV[6]), number(ARGV[7]), number(ARGV[8])
local session, attempt, journal = ARGV[9] or '', ARGV[10] or '', ARGV[11] or ''
local FIRST_FACT = 12

local job = load_owned(id, fence)
if not job or job.session_id ~= session then return {'LOST'} end

require_type('hash', META)
local sent = job['call:' .. turn]
if sent == call and turn == job.turn then
  change(id, job, 'intents', number(job.intents) + 1)
  return {'OK', job['previous:' .. turn]}
end
if sent ~= '' then return {'ALREADY'} end
-- A late repetition must not restore an intent that was withdrawn.
if job['released:' .. call] ~= '' then return {'LOST'} end
if job.cancel_requested == '1' then return {'CANCELLED'} end
if turn ~= job.turn then return {'CLOSED'} end
if number(turn) > 1 then
  local before = job['outcome:' .. (number(turn) - 1)]
  if before ~= 'question' and before ~= 'pay_again' then return {'CLOSED'} end
end

if journal ~= '' and meta.journal_id and meta.journal_id ~= journal then
  return {'OTHER_JOURNAL'}
end
-- All that can fail is read before the first write.
local account = {}
local ACCOUNT_FIELDS = {'base', 'reserved', 'cooling_until', 'refused_at_base', 'estimate', 'window',
  'refusals', 'trying_until', 'total', 'plan_refused_at', 'messages'}
local found = redis.call('HMGET', account_key(job.account), unpack(ACCOUNT_FIELDS))
for at, name in ipairs(ACCOUNT_FIELDS) do account[name] = found[at] or nil end
local slots = slots_key(job.account)
local in_flight = redis.call('ZCARD', slots)
-- The messages whose charge may not be in the balance yet. From this and the number of the message,
-- settling finds out whether others have changed the balance.
local uncounted_charges = redis.call('HLEN', reserved_key(job.account))

local refusal, other = acquire_session(id, job)
if refusal then return {refusal, other} end

local reserved, cooling = number(account.reserved), number(account.cooling_until)
cost = math.max(cost, number(account.estimate))
if cooling > now then return {'COOLING', cooling - now} end
if not account.base then return {'NO_BALANCE'} end
if account.refused_at_base or tonumber(account.base) - reserved < cost then return {'NO_CREDIT'} end
if account.plan_refused_at then return {'PLAN'} end
if job.batch ~= '' then
  local budget, used = unpack(redis.call('HMGET', batch_key(job.batch), 'max_credits', 'committed'))
  if budget and budget ~= '' and number(used) + cost > tonumber(budget) then return {'BUDGET'} end
end
local most = math.min(cap, math.floor(tonumber(account.window) or FIRST_WINDOW))
if in_flight >= most then
  -- Slots of dead workers count until they are needed.
  in_flight = in_flight - redis.call('ZREMRANGEBYSCORE', slots, '-inf', now)
end
if in_flight >= most then return {'NO_SLOT'} end
if number(account.refusals) > 0 then
  if number(account.trying_until) > now then return {'NO_SLOT'} end
  change_hash(account_key(job.account), account, 'trying_until', now + lease)
end

local nth = number(account.messages) + 1
redis.call('ZADD', slots, now + lease, call)
redis.call('HSET', reserved_key(job.account), call, cost)
change_hash(account_key(job.account), account, 'messages', nth, 'reserved', reserved + cost)
if job.batch ~= '' then
  redis.call('HINCRBYFLOAT', batch_key(job.batch), 'committed', cost)
end
-- The outcome 'sent' means that none is known yet, even before the message is sent.
change(id, job, 'call:' .. turn, call, 'cost:' .. turn, cost,
  'before:' .. turn, account.total or '', 'sent_at', now, 'outcome:' .. turn, 'sent',
  'attempt:' .. turn, attempt, 'session:' .. turn, session,
  'nth:' .. turn, nth, 'unsettled:' .. turn, uncounted_charges, 'paid', number(job.paid) + 1,
  'intents', number(job.intents) + 1, unpack(ARGV, FIRST_FACT))
local previous = previous_entry(id, job)
if previous ~= '' then change(id, job, 'previous:' .. turn, previous) end
set_last_message(id, job, call, attempt, now)
-- How many intents this ledger has written, by which the loss of a part of it is noticed.
redis.call('HINCRBY', META, 'intents', 1)
-- Binds the ledger to the journal: workers with different journals would not see each other's payments.
if journal ~= '' and not meta.journal_id then redis.call('HSET', META, 'journal_id', journal) end
return {'OK', previous}
