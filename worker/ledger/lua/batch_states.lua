-- batch_states(id, ...) -> {state, reason, state, reason, ...}
-- Where jobs stand, a page of a batch at a time, without their whole records. '' for one that is
-- gone or no record. Reads only.
local out = {}
for at = 2, #ARGV do
  local found = redis.pcall('HMGET', job_key(ARGV[at]), 'state', 'reason')
  out[#out + 1] = found[1] or ''
  out[#out + 1] = found[2] or ''
end
return out
