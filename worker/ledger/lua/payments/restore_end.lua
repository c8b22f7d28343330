-- restore_end(id, call, state, reason, field, value, ...) -> OK | BUSY | PAID | ENDED | GONE
-- Ends a job that nobody works on as the payment journal says that it has ended, if its message is
-- this call. Whoever waits for it is notified. Safe twice.
local id, call, state, reason = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local job = load_job(id)
if not job then return 'GONE' end
if ENDS[job.state] then return 'ENDED' end
if job.owner ~= '' and number(job.lease) > now then return 'BUSY' end
if job['call:' .. job.turn] ~= call then return 'PAID' end
require_writable(id, job)
if #ARGV > 5 then redis.call('HSET', job_key(id), unpack(ARGV, 6)) end
redis.call('HSET', job_key(id), 'owner', '', 'nonce', '', 'lease', 0, 'not_before', 0)
if state == 'succeeded' then redis.call('HSET', job_key(id), 'outcome:' .. job.turn, 'done') end
if redis.call('HDEL', reserved_key(job.account), call) == 1 then
  -- It ended long ago, so that no later balance has to show its charge.
  redis.call('HINCRBYFLOAT', account_key(job.account), 'reserved', -number(job['cost:' .. job.turn]))
  count_charge(job.account, job['cost:' .. job.turn])
end
end_call(job, call)
move(id, job, state, reason)
if state == 'succeeded' then drop_working_fields(id) end
record_end(id, job)
unschedule(id)
notify(id)
return 'OK'
