-- credits_refused(account) -> OK
-- Records that the API refused a message for lack of credits although the balance allowed it. The
-- account pays for nothing until a reading shows more than it had then. Safe twice.
local key = account_key(ARGV[2])
redis.call('HSETNX', key, 'refused_at_base', redis.call('HGET', key, 'base') or 0)
return 'OK'
