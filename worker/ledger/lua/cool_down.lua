-- cool_down(account, ms) -> until
-- Lets an account rest for everyone; the later of two ends counts. Safe twice but for the
-- milliseconds between.
local account, ms = ARGV[2], number(ARGV[3])
local till = math.max(now + ms, number(redis.call('HGET', account_key(account), 'cooling_until')))
redis.call('HSET', account_key(account), 'cooling_until', till)
return till
