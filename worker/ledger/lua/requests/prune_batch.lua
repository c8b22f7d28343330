-- prune_batch(batch, before) -> OK | KEPT
-- Deletes a batch that was created before a time and has no jobs left. Safe twice.
local batch, before = ARGV[2], number(ARGV[3])
local created = redis.pcall('HGET', batch_key(batch), 'created_at')
if type(created) == 'table' then return 'KEPT' end
if number(created) >= before then return 'KEPT' end
if redis.call('EXISTS', rows_key(batch)) == 1 then return 'KEPT' end
redis.call('ZREM', 'batches:{' .. ns .. '}', batch)
redis.call('DEL', batch_key(batch))
return 'OK'
