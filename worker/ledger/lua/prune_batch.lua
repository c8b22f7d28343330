-- prune_batch(batch, before) -> OK | KEPT
-- Forgets a batch that was made before a moment and has no jobs any more. Safe twice.
local batch, before = ARGV[2], number(ARGV[3])
local made = redis.pcall('HGET', batch_key(batch), 'created_at')
if type(made) == 'table' then return 'KEPT' end
if number(made) >= before then return 'KEPT' end
if redis.call('EXISTS', rows_key(batch)) == 1 then return 'KEPT' end
redis.call('ZREM', 'batches:{' .. ns .. '}', batch)
redis.call('DEL', batch_key(batch))
return 'OK'
