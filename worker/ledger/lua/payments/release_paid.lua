-- release_paid(id, fence, call, why) -> OK | LOST | REFUSED
-- Takes back the intent of a message that cannot have been charged: frees slot and reservation,
-- archives the call and opens the turn again. Safe twice.
local CANNOT_HAVE_BEEN_CHARGED = {
  not_durable = true,      -- the intent was not confirmed, so nothing was sent
  not_sent = true,         -- no connection was made
  token_refused = true, session_not_found = true, out_of_credits = true, rate_limited = true,
  file_refused = true, plan_refused = true, request_refused = true  -- the direct reply
}
local id, fence, call, why = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if not CANNOT_HAVE_BEEN_CHARGED[why] then return 'REFUSED' end
local job = load_owned(id, fence)
if not job then return 'LOST' end
local turn = job.turn
if job['call:' .. turn] ~= call then
  if job['released:' .. call] ~= '' then return 'OK' end
  return 'REFUSED'
end
local cost = number(job['cost:' .. turn])
redis.call('ZREM', slots_key(job.account), call)
redis.call('ZREM', ended_key(job.account), call)
if redis.call('HDEL', reserved_key(job.account), call) == 1 then
  redis.call('HINCRBYFLOAT', account_key(job.account), 'reserved', -cost)
end
if job.batch ~= '' then
  redis.call('HINCRBYFLOAT', batch_key(job.batch), 'committed', -cost)
end
redis.call('HDEL', job_key(id), 'call:' .. turn, 'cost:' .. turn, 'outcome:' .. turn,
  'before:' .. turn, 'sent_at')
redis.call('HSET', job_key(id), 'released:' .. call, why)
redis.call('HINCRBY', job_key(id), 'paid', -1)
return 'OK'
