-- claim_polls(owner, nonce, n, lease, margin, version) -> {ms until the next poll is due or -1, poll, ...}
-- Makes a worker the owner of at most n jobs whose render is due for a poll, each under a fence of its
-- own, as claim.lua does. A poll is five values: id, fence, render id, account, polls so far.
-- A job that is no plain poll leaves the index of polls: it has moved on, a step owns it, or claim.lua
-- must decide about it. In the last case it becomes due on the agenda.
-- Safe twice: the ids of the group are kept under the nonce for one lease.
local owner, nonce, n, lease, margin, version =
  ARGV[2], ARGV[3], number(ARGV[4]), number(ARGV[5]), number(ARGV[6]), number(ARGV[7])
local GROUP = 'poll_group:{' .. ns .. '}:' .. nonce
local FIELDS = {'state', 'render_submitted', 'render_id', 'owner', 'nonce', 'fence', 'not_before',
                'crashes', 'attempts', 'v', 'keeper', 'account', 'polls', 'worker'}
local INTEGERS = {'fence', 'not_before', 'crashes', 'attempts', 'v', 'polls'}

require_type('hash', META)

-- Reads what a poll needs of a record, absent fields as ''. -> fields | nil
local function read_poll(id)
  local found = redis.pcall('HMGET', job_key(id), unpack(FIELDS))
  if found.err then return nil end
  local job = {}
  for at, name in ipairs(FIELDS) do job[name] = found[at] or '' end
  return job
end

-- Whether claim.lua would let any worker that can read the record claim the job.
local function is_plain(job)
  for _, name in ipairs(INTEGERS) do
    if job[name] ~= '' and not is_integer(job[name]) then return false end
  end
  return job.fence ~= '' and job.render_id ~= '' and number(job.crashes) < SUSPECT_CRASHES
    and number(job.v) <= version
end

local out = {-1}
local function add(id, job, fence)
  local account = job.keeper ~= '' and job.keeper or job.account
  for _, value in ipairs({id, fence .. ':' .. nonce, job.render_id, account, number(job.polls)}) do
    out[#out + 1] = value
  end
end

local claimed, expiries = {}, {}

-- Claims the plain polls among these jobs. Each of the jobs leaves the index or is postponed in it.
local function claim(ids)
  require_type('zset', AGENDA)
  local removed = {}
  for _, id in ipairs(ids) do
    local job = read_poll(id)
    local is_poll = job and job.state == 'rendering' and job.render_submitted == '1'
      and job.owner == ''
    if is_poll and number(job.not_before) > now then
      redis.call('ZADD', POLLS, job.not_before, id)
    else
      removed[#removed + 1] = id
      if is_poll and is_plain(job) then
        local fence = number(job.fence) + 1
        redis.call('HSET', job_key(id), 'owner', owner, 'nonce', nonce, 'lease', now + lease,
          'worker', owner, 'fence', fence, 'attempts', number(job.attempts) + 1)
        if job.worker == '' then announce(id) end
        claimed[#claimed + 1] = id
        expiries[#expiries + 1] = now + lease + margin
        expiries[#expiries + 1] = id
        add(id, job, fence)
      elseif is_poll or not job then
        redis.call('ZADD', AGENDA, 'XX', 'LT', now, id)
      end
    end
  end
  if #removed > 0 then redis.call('ZREM', POLLS, unpack(removed)) end
end

local group = redis.call('LRANGE', GROUP, 0, -1)
for _, id in ipairs(group) do
  local job = read_poll(id)
  if job and job.owner == owner and job.nonce == nonce then add(id, job, job.fence) end
end
while #group == 0 and #claimed < n do
  local ids = redis.call('ZRANGEBYSCORE', POLLS, '-inf', now, 'LIMIT', 0, n - #claimed)
  if #ids == 0 then break end
  claim(ids)
end
if #claimed > 0 then
  redis.call('ZADD', AGENDA, unpack(expiries))
  redis.call('RPUSH', GROUP, unpack(claimed))
  redis.call('PEXPIRE', GROUP, lease)
end

-- While polls are claimed in groups, the ticker sends no wake-up messages for them.
if n > 0 and now - number(meta.polls_claimed_at) > POLL_GRACE / 4 then
  redis.call('HSET', META, 'polls_claimed_at', now)
end
local following = redis.call('ZRANGE', POLLS, 0, 0, 'WITHSCORES')
if #following > 0 then out[1] = math.max(0, number(following[2]) - now) end
return out
