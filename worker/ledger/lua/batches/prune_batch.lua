-- prune_batch(batch, before) -> OK | KEPT
-- Deletes a batch that was created before a time and has no jobs left. A batch whose manifest is
-- being submitted since that time stays. Safe twice.
local batch, before = ARGV[2], number(ARGV[3])
local found = redis.pcall('HMGET', batch_key(batch), 'created_at', 'sealed', 'unsealed_at')
if found.err then return 'KEPT' end
local created, sealed, unsealed_at = unpack(found)
if number(created) >= before then return 'KEPT' end
if sealed ~= '1' and number(unsealed_at) >= before then return 'KEPT' end
if redis.call('EXISTS', rows_key(batch)) == 1 then return 'KEPT' end
redis.call('ZREM', 'batches:{' .. ns .. '}', batch)
redis.call('ZREM', SCHEDULED, batch)
redis.call('DEL', batch_key(batch))
return 'OK'
