-- credits_refused(account, at) -> OK | STALE
-- Records that the API refused a message for lack of credits, at a time in ms, although the balance allowed
-- it. The account pays for nothing until a reading shows more than it had then. If the balance was read
-- after the refusal, that reading decides: credits may have been added. Safe twice.
local key = account_key(ARGV[2])
if number(redis.call('HGET', key, 'read_at')) > number(ARGV[3]) then return 'STALE' end
redis.call('HSETNX', key, 'refused_at_base', redis.call('HGET', key, 'base') or 0)
return 'OK'
