-- update_facts(id, fence, field, value, ...) -> OK | LOST
-- Writes facts during a step, for the owner alone: a session, an upload, a render id before its
-- request. Safe twice.
local id, fence = ARGV[2], ARGV[3]
local owner, held = unpack(redis.pcall('HMGET', job_key(id), 'owner', 'fence'))
if not owner or owner == '' or held ~= fence then return 'LOST' end
redis.call('HSET', job_key(id), unpack(ARGV, 4))
return 'OK'
