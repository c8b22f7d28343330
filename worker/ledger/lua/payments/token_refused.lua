-- token_refused(account, by) -> OK
-- Records that the API refused an account's token: jobs that have yet to pay use other accounts. A
-- refusal of a balance reading (`balance`) replaces one that a job got (`job`), because only the
-- next reading shows that the token works again. Safe twice.
local key, by = account_key(ARGV[2]), ARGV[3]
if by == 'balance' then
  redis.call('HSET', key, 'distrust', by)
else
  redis.call('HSETNX', key, 'distrust', by)
end
return 'OK'
