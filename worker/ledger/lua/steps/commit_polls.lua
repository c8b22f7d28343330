-- commit_polls(id, fence, delay, polls, id, fence, delay, polls, ...) -> {OK | LOST | OTHER, ...}
-- Ends polls of renders that continue, each for the owner of its job alone, as commit.lua does.
--   delay  ms until the next poll       polls  how often the render was polled, or '' if it was not
-- OTHER: nothing was written, and commit.lua must end the step.
-- Safe twice: the nonce of the claim is stored as that of the commit, because each claim ends once.
require_type('zset', AGENDA, POLLS)
local out, due, given_up = {}, {}, {}
for at = 2, #ARGV, 4 do
  local id, fence, delay, polls = ARGV[at], ARGV[at + 1], number(ARGV[at + 2]), ARGV[at + 3]
  local nonce = string.match(fence, ':(.*)$')
  local found = redis.pcall('HMGET', job_key(id), 'state', 'owner', 'fence', 'nonce', 'committed',
    'cancel_requested', 'render_submitted', 'reason', 'crashes')
  local state, owner, number_of, claim, committed, cancel, submitted, reason, crashes =
    unpack(found, 1, 9)
  local verdict = 'OK'
  if found.err or not owner or not number_of or not claim then
    verdict = 'LOST'
  elseif committed ~= nonce then
    if not is_owned({owner = owner, fence = number_of, nonce = claim}, fence) then
      verdict = 'LOST'
    elseif state ~= 'rendering' or submitted ~= '1' or cancel == '1' or reason and reason ~= ''
      or number(crashes) >= SUSPECT_CRASHES then
      verdict = 'OTHER'
    else
      redis.call('HSET', job_key(id), 'committed', nonce, 'owner', '', 'nonce', '', 'lease', 0,
        'crashes', 0, 'not_before', now + delay, 'message', '', 'remedy', '')
      if polls ~= '' then redis.call('HSET', job_key(id), 'polls', polls, 'tries', 0) end
      due[#due + 1] = now + delay
      due[#due + 1] = id
      given_up[#given_up + 1] = now + delay + POLL_GRACE
      given_up[#given_up + 1] = id
    end
  end
  out[#out + 1] = verdict
end
if #due > 0 then
  redis.call('ZADD', POLLS, unpack(due))
  redis.call('ZADD', AGENDA, unpack(given_up))
end
return out
