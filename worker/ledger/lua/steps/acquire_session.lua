-- acquire_session(id, fence) -> OK {record} | a refusal and the job to wait for
-- Writes the session that a job shares with others into its record, and acquires that session, before
-- anything is uploaded there. For a follow-up, it is the session of the job that it follows; for a job
-- of a shared batch, that of the batch.
--   LOST             not the owner
--   SESSION_BUSY     another job works in it or is ahead of this one: ask again soon
--   SESSION_BLOCKED  the job to wait for is held or queued
--   NO_PROJECT       the job that it follows ended without a session
-- Safe twice.
local id, fence = ARGV[2], ARGV[3]
local job = load_owned(id, fence)
if not job then return {'LOST'} end

local function use_session(fields)
  require_type('hash', session_key(fields.session_id))
  require_type('zset', session_queue_key(fields.session_id))
  for _, name in ipairs(SESSION_FIELDS) do redis.call('HSET', job_key(id), name, fields[name]) end
  job.session_id = fields.session_id
end

if job.follows ~= '' then
  local predecessor, why = load_job(job.after)
  if why then return {'SESSION_BUSY', job.after} end
  if predecessor and predecessor.state == 'queued' then return {'SESSION_BLOCKED', job.after} end
  if predecessor and SESSION_STATES[predecessor.state] then return {'SESSION_BUSY', job.after} end

  local origin, origin_why = load_job(job.follows)
  if origin_why then return {'SESSION_BUSY', job.follows} end
  if not origin then return {'NO_PROJECT', job.follows} end
  if origin.session_id == '' then
    if ENDS[origin.state] then return {'NO_PROJECT', job.follows} end
    return {is_parked(job.follows) and 'SESSION_BLOCKED' or 'SESSION_BUSY', job.follows}
  end
  if not turn_is_paid(job) then
    use_session(origin)
    redis.call('HSETNX', job_key(id), 'media_name', origin.media_name)
  end
elseif job.shared ~= '' and not ever_paid(job) then
  local session = {}
  for _, name in ipairs(SESSION_FIELDS) do
    session[name] = redis.call('HGET', batch_key(job.batch), 'shared:' .. name) or ''
  end
  if session.session_id ~= '' then
    -- A message works on the newest image of its session. So what was uploaded to another session,
    -- or before other jobs worked in this one, is uploaded again.
    local is_holder = redis.call('HGET', session_key(session.session_id), 'holder') == id
    if job.session_id ~= session.session_id or not is_holder then
      redis.call('HDEL', job_key(id), 'uploaded', 'uploading')
    end
    use_session(session)
  end
end

local refusal, other = acquire_session(id, job)
if refusal then return {refusal, other} end
return {'OK', redis.call('HGETALL', job_key(id))}
