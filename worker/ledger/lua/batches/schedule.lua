-- schedule(batch, not_before) -> OK | GONE
-- Lets no job of a batch start before a time, in ms of the server's clock; a time that has passed lets
-- them start now. Running jobs continue. The ticker activates the flows at that time. Safe twice.
local batch, not_before = ARGV[2], number(ARGV[3])
require_type('hash', META, batch_key(batch))
require_type('zset', FLOWS, SCHEDULED)
if redis.call('EXISTS', batch_key(batch)) == 0 then return 'GONE' end
redis.call('HSET', batch_key(batch), 'not_before', ARGV[3])
if not_before > server_time then
  redis.call('ZADD', SCHEDULED, not_before, batch)
  deactivate_flows(batch)
else
  redis.call('ZREM', SCHEDULED, batch)
  activate_flows(batch)
end
return 'OK'
