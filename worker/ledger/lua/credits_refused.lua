-- credits_refused(account) -> OK
-- The API refused a message for want of credits although our figures allowed it. Nobody pays from
-- this account until a reading shows more than what was refused at. Safe twice.
local key = account_key(ARGV[2])
redis.call('HSETNX', key, 'refused_at_base', redis.call('HGET', key, 'base') or 0)
return 'OK'
