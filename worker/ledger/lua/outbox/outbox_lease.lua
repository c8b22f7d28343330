-- outbox_lease(n, delay) -> {entry, ...}
-- The oldest due entries of the outbox, at most n, each of which is due again after delay ms. A second
-- run returns others.
local due = redis.call('ZRANGEBYSCORE', OUTBOX, '-inf', now, 'LIMIT', 0, ARGV[2])
local scores = {}
for _, entry in ipairs(due) do
  scores[#scores + 1], scores[#scores + 2] = now + number(ARGV[3]), entry
end
if #due > 0 then redis.call('ZADD', OUTBOX, 'XX', unpack(scores)) end
return due
