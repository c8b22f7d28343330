-- restore_end(id, call, state, reason, field, value, ...) -> OK | BUSY | PAID | ENDED | GONE
-- Restores the end of a job from the payment journal, if no worker owns the job and its message is this
-- call. The end is reported as any other. Safe twice.
local id, call, state, reason = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local job = load_job(id)
if not job then return 'GONE' end
if ENDS[job.state] then return 'ENDED' end
if job.owner ~= '' and number(job.lease) > now then return 'BUSY' end
if job['call:' .. job.turn] ~= call then return 'PAID' end
require_writable(id, job)
change(id, job, unpack(ARGV, 6))
change(id, job, 'owner', '', 'nonce', '', 'lease', 0, 'not_before', 0)
if state == 'succeeded' then change(id, job, 'outcome:' .. job.turn, 'done') end
if redis.call('HDEL', reserved_key(job.account), call) == 1 then
  -- It ended before Redis lost its records, so its charge is counted now and not by a later balance.
  redis.call('HINCRBYFLOAT', account_key(job.account), 'reserved', -number(job['cost:' .. job.turn]))
  count_charge(job.account, job['cost:' .. job.turn])
  redis.call('ZREM', slots_key(job.account), call)
  redis.call('ZREM', ended_key(job.account), call)
else
  end_call(job, call)
end
move(id, job, state, reason)
if state == 'succeeded' then drop_working_fields(id, job) end
record_end(id, job)
take_off_agenda(id)
notify(id, job)
return 'OK'
