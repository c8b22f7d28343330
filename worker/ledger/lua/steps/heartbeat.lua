-- heartbeat(lease, margin, id, fence, id, fence, ...) -> {OK | LOST, ...}
-- Extends the leases of jobs, their places on the agenda and the slots of their messages.
-- Safe twice; it never shortens any of them.
local lease, margin = number(ARGV[2]), number(ARGV[3])
local FIRST = 4
local out, owned, agenda, slots = {}, {}, {}, {}

local function append(list, ...)
  for _, value in ipairs({...}) do list[#list + 1] = value end
end

for at = FIRST, #ARGV, 2 do
  local id = ARGV[at]
  local found = redis.pcall('HMGET', job_key(id), 'owner', 'fence', 'nonce', 'lease', 'account',
    'turn', 'call:1')
  local owner, fence, nonce, until_, account, turn, call = unpack(found, 1, 7)
  local is_mine = owner and fence and nonce
    and is_owned({owner = owner, fence = fence, nonce = nonce}, ARGV[at + 1])
  out[#out + 1] = is_mine and 'OK' or 'LOST'
  if not is_mine then load_job(id) end  -- sets it aside if it cannot be read
  if is_mine then
    owned[id] = math.max(number(until_ or ''), now + lease)
    append(agenda, now + lease + margin, id)
    if turn ~= '1' then call = turn and redis.call('HGET', job_key(id), 'call:' .. turn) end
    if account and account ~= '' and call and call ~= '' then
      local key = slots_key(account)
      slots[key] = slots[key] or {}
      append(slots[key], now + lease + margin, call)
    end
  end
end

require_type('zset', AGENDA)
require_type('hash', META)
for key, _ in pairs(slots) do require_type('zset', key) end
for id, lease_end in pairs(owned) do redis.call('HSET', job_key(id), 'lease', lease_end) end
if #agenda > 0 then redis.call('ZADD', AGENDA, 'XX', 'GT', unpack(agenda)) end
for key, places in pairs(slots) do redis.call('ZADD', key, 'XX', 'GT', unpack(places)) end
if owned[meta.suspect or ''] then
  redis.call('HSET', META, 'suspect_until', now + lease + margin)
end
return out
