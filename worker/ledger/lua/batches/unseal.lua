-- unseal(batch, submission, webhook) -> OK | SEALED
-- Marks the manifest of a batch as incomplete, until this submission of it seals the batch. If that has
-- happened already, this call arrives late. Safe twice.
--   webhook  address to notify of the batch's end, or '' to leave it
local key, submission, webhook = batch_key(ARGV[2]), ARGV[3], ARGV[4]
if submission ~= '' and redis.call('HGET', key, 'sealed_by') == submission then return 'SEALED' end
redis.call('HSET', key, 'sealed', 0, 'unsealed_at', now)
if webhook ~= '' then redis.call('HSET', key, 'webhook', webhook) end
return 'OK'
