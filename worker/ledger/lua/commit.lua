-- commit(id, fence, nonce, state, delay, reason, resume, outcome, field, value, ...)
-- Ends a step: facts, the next state and when it is due, in one write by the newest fence.
--   delay    ms until the next step        reason   why held or failed, else ''
--   resume   where a held job goes on      outcome  of the present turn, '' to leave it
-- -> OK | LOST.  Safe twice: the nonce of the last commit is kept.
local id, fence, nonce, state, delay, reason, resume, outcome =
  ARGV[2], ARGV[3], ARGV[4], ARGV[5], number(ARGV[6]), ARGV[7], ARGV[8], ARGV[9]
local job = load_job(id)
if not job then return 'LOST' end
if job.committed == nonce then return 'OK' end
if job.owner == '' or job.fence ~= fence then return 'LOST' end

-- A person asked for the end while the step ran, and nothing was paid: the wish is granted now.
if job.cancel_requested == '1' and not ever_paid(job) and not ENDS[state] then
  state, reason, resume, outcome = 'cancelled', '', '', ''
end
if #ARGV > 9 then redis.call('HSET', job_key(id), unpack(ARGV, 10)) end
local account = redis.call('HGET', job_key(id), 'account')
redis.call('HSET', job_key(id), 'committed', nonce, 'owner', '', 'nonce', '', 'lease', 0,
  'crashes', 0, 'not_before', now + delay)
if account then job.account = account end
if redis.call('HGET', META, 'suspect') == id then redis.call('HDEL', META, 'suspect') end

-- Whoever held this job up may have been decided about meanwhile: then it looks again.
if reason == 'blocked' then
  local holder = redis.call('HGET', job_key(id), 'blocked_by')
  if is_parked(holder) then
    redis.call('SADD', blocked_key(holder), id)
  else
    state, reason = resume, ''
    redis.call('HSET', job_key(id), 'message', '', 'remedy', '')
  end
end
if redis.call('HGET', job_key(id), 'session_id') ~= job.session_id then
  drop_batch_session(job)
  release_session(id, job)
end

local call = job['call:' .. job.turn]
if call ~= '' and state ~= 'generating' and state ~= 'settling' then end_call(job, call) end
if outcome ~= '' then
  redis.call('HSET', job_key(id), 'outcome:' .. job.turn, outcome)
  if outcome == 'question' then
    end_call(job, call)
    redis.call('HINCRBY', job_key(id), 'turn', 1)
  end
end

-- What clips took lately, in ms: between admission and the settled draft, which is how long a job
-- takes one of the places that the ticker gives out, and in all. The mean of the first clips, then
-- a rolling one of about as many.
local REMEMBERED = 32
local function note_pace(done)
  local spent = redis.call('HMGET', job_key(done), 'ms:preparing', 'ms:generating', 'ms:settling',
    'ms:rendering', 'ms:delivering')
  local place = number(spent[1]) + number(spent[2]) + number(spent[3])
  local whole = place + number(spent[4]) + number(spent[5])
  local clips, mean_place, mean_whole =
    unpack(redis.call('HMGET', PACE, 'clips', 'place_ms', 'clip_ms'))
  local among = math.min(number(clips) + 1, REMEMBERED)
  redis.call('HSET', PACE, 'clips', number(clips) + 1,
    'place_ms', number(mean_place) + (place - number(mean_place)) / among,
    'clip_ms', number(mean_whole) + (whole - number(mean_whole)) / among)
end

-- What only the work itself needed. A failed job keeps it: a retry goes on with it.
local function drop_working_fields()
  redis.call('HDEL', job_key(id), 'owner', 'nonce', 'lease', 'not_before', 'crashes', 'resume',
    'tries', 'tries_of', 'trouble', 'readings', 'last_reading', 'baseline', 'as_done', 'uploading',
    'polls', 'render_tries', 'render_submitted', 'stored', 'progress', 'progress_at', 'message',
    'remedy')
end

if ENDS[state] then
  move(id, job, state, reason)
  if state == 'succeeded' then drop_working_fields() end
  if state == 'succeeded' then note_pace(id) end
  redis.call('HSET', job_key(id), 'finished_at', now)
  unschedule(id)
  notify(id)
elseif state == 'held' then
  redis.call('HSET', job_key(id), 'resume', resume)
  move(id, job, state, reason)
  unschedule(id)
  notify(id)
else
  move(id, job, state)
  redis.call('ZADD', AGENDA, now + delay, id)
end
return 'OK'
