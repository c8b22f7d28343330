-- batch_states(id, ...) -> {state, reason, state, reason, ...}
-- The states of jobs, without their whole records; '' for a job that is gone or cannot be read.
-- Reads only.
local out = {}
for at = 2, #ARGV do
  local found = redis.pcall('HMGET', job_key(ARGV[at]), 'state', 'reason')
  out[#out + 1] = found[1] or ''
  out[#out + 1] = found[2] or ''
end
return out
