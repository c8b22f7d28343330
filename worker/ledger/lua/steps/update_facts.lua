-- update_facts(id, fence, field, value, ...) -> OK | LOST
-- Writes facts during a step, for the owner alone: a session, an upload, a render id before its
-- request. Safe twice.
local id, fence = ARGV[2], ARGV[3]
local found = redis.pcall('HMGET', job_key(id), 'owner', 'fence', 'nonce')
local owner, number_of, nonce = unpack(found)
if not owner or not number_of or not nonce then return 'LOST' end
if not is_owned({owner = owner, fence = number_of, nonce = nonce}, fence) then return 'LOST' end
redis.call('HSET', job_key(id), unpack(ARGV, 4))
return 'OK'
