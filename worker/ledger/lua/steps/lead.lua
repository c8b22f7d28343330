-- lead(owner, lease, longest) -> 1 | 0
-- Takes the leader lease for `lease` ms if it is free, or extends it if it is this worker's. A lease
-- that lasts longer than `longest` ms, because the server's clock was set back, is cut to `lease` ms.
-- Safe twice.
local owner, lease, longest = ARGV[2], ARGV[3], number(ARGV[4])
local key = 'ticker:{' .. ns .. '}'
local leader = redis.call('GET', key)
if not leader then
  redis.call('SET', key, owner, 'PX', lease)
  return 1
end
if leader == owner or redis.call('PTTL', key) > longest then redis.call('PEXPIRE', key, lease) end
return leader == owner and 1 or 0
