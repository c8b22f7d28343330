-- release(id, mode, who, revision) -> OK | NOT_HELD | NEEDS_CHOICE | REFUSED | GONE | UNREADABLE
-- Continues a held job at the first stage whose result is missing. Only `pay_again` opens a paid turn.
--   mode ''         continue
--   mode pay_again  archive the turn's message and open the next turn
--   mode as_done    take the session's current draft as the result of the unknown message
-- `revision` is that of the hold that was decided about, or ''. After another hold the answer is NOT_HELD,
-- so that a decision that arrives late does not apply to a later message.
-- A job that was set aside and can be read now continues in its state.
-- Safe twice: the second run finds a job that is not held.
local id, mode, who, revision = ARGV[2], ARGV[3], ARGV[4], ARGV[5] or ''
local job, why = load_job(id)
if why then return 'UNREADABLE' end
if not job then
  redis.call('HDEL', UNREADABLE, id)
  return 'GONE'
end
require_writable(id, job)
if restore_set_aside(id, job) and job.state ~= 'held' then return 'OK' end
if job.state ~= 'held' or (revision ~= '' and revision ~= job.revision) then return 'NOT_HELD' end
local undecided = UNDECIDED[job.reason]
local is_list, decisions = pcall(cjson.decode, job.decisions ~= '' and job.decisions or '[]')
if mode ~= '' and not (is_list and type(decisions) == 'table') then
  set_aside(id, 'its decisions are not a list')
  return 'UNREADABLE'
end
local to = job.resume
if to == '' then to = 'preparing' end

if mode == '' then
  -- An unknown outcome in a turn without a message follows from `as_done`, and continuing would pay.
  local unknown = job.reason == 'outcome_unknown' and ever_paid(job)
  if undecided and (turn_is_paid(job) or unknown) then return 'NEEDS_CHOICE' end
elseif mode == 'as_done' then
  if not undecided or not ever_paid(job) then return 'REFUSED' end
  to = 'settling'
  redis.call('HSET', job_key(id), 'as_done', 1)
elseif mode == 'pay_again' then
  if not undecided then return 'REFUSED' end
  if turn_is_paid(job) then
    end_call(job, job['call:' .. job.turn])
    redis.call('HSET', job_key(id), 'outcome:' .. job.turn, 'pay_again')
    redis.call('HINCRBY', job_key(id), 'turn', 1)
  elseif job['outcome:' .. (number(job.turn) - 1)] == 'question' then
    -- The turn was to answer a question, and the project has changed since: now it is a new request.
    redis.call('HSET', job_key(id), 'outcome:' .. (number(job.turn) - 1), 'pay_again')
  end
  to = 'preparing'
  -- Facts of the archived message must not be taken for the next one's.
  redis.call('HDEL', job_key(id), 'readings', 'last_reading', 'baseline', 'as_done', 'draft',
    'timeline', 'reply', 'render_id', 'render_submitted', 'source_url', 'adopted')
  if job.reason == 'session_lost' then
    redis.call('HDEL', job_key(id), 'session_id', 'task_id', 'claim_url', 'uploaded', 'bind_id')
  end
end
if mode ~= '' then
  decisions[#decisions + 1] = {choice = mode, by = who, at = now}
  redis.call('HSET', job_key(id), 'decisions', cjson.encode(decisions))
end

redis.call('HSET', job_key(id), 'not_before', 0, 'crashes', 0, 'message', '', 'remedy', '')
redis.call('HDEL', job_key(id), 'resume', 'polls', 'render_tries', 'tries', 'tries_of', 'trouble')
if turn_is_paid(load_job(id)) and (to == 'preparing' or to == 'generating') then
  to = 'settling'
end
resume_job(id, job, to)
return 'OK'
