-- set_identity(journal, ledger, epoch, counter, recovering) -> OK | LOST
-- Writes that the ledger belongs to a journal, after a recovery or a person's decision. The counter
-- of intents to pay becomes at least the mirror's, so that the mirror's never falls. Jobs whose
-- message was sent before this may lack later messages in their session, so the time is stored.
--   recovering  the epoch of the recovery that ends by this, or '' if none does
-- LOST: the record that this recovery has begun is gone, because Redis has lost data since. Safe twice.
local journal, ledger, epoch, counter, recovering =
  ARGV[2], ARGV[3], ARGV[4], number(ARGV[5]), ARGV[6]
require_type('hash', META)
if recovering ~= '' then
  local begun, ended = unpack(redis.call('HMGET', META, 'recovering', 'epoch'))
  if ended == epoch and not begun then return 'OK' end
  if begun ~= recovering then return 'LOST' end
end
if number(redis.call('HGET', META, 'intents')) < counter then
  redis.call('HSET', META, 'intents', counter)
end
redis.call('HSET', META, 'journal_id', journal, 'ledger_id', ledger, 'recovered_at', now,
  'epoch', epoch)
redis.call('HDEL', META, 'recovering', 'paying_stopped', 'starting')
return 'OK'
