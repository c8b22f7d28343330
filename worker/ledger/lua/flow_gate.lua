-- flow_gate(batch, shut) -> OK | GONE
-- Pauses (shut = 1) or resumes (shut = 0) a batch by taking one member for each of its
-- priorities out of the flows, or putting it back, however many jobs wait. Safe twice.
local batch, shut = ARGV[2], ARGV[3]
if redis.call('EXISTS', batch_key(batch)) == 0 then return 'GONE' end
redis.call('HSET', batch_key(batch), 'paused', shut)
for priority, _ in pairs(WEIGHT) do
  local flow = batch .. ':' .. priority
  if shut == '1' then
    redis.call('ZREM', FLOWS, flow)
  elseif redis.call('EXISTS', flow_key(flow)) == 1 then
    redis.call('ZADD', FLOWS, 'NX', virtual_time(), flow)
  end
end
return 'OK'
