-- token_refused(account, by) -> OK
-- The API refuses an account's token: what has yet to pay goes to other accounts. A refusal of
-- a balance reading ('balance') outweighs one that a job met ('job'), because only the next
-- reading can tell that the token works again. Safe twice.
local key, by = account_key(ARGV[2]), ARGV[3]
if by == 'balance' then
  redis.call('HSET', key, 'distrust', by)
else
  redis.call('HSETNX', key, 'distrust', by)
end
return 'OK'
