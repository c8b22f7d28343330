-- acquire_session(id, fence) -> OK {record} | a refusal and who is meant
-- Brings a follow-up into the session of the job that it follows, and a job of a shared batch into
-- the batch's, and takes the session for it, before anything is uploaded there.
--   LOST             not the owner
--   SESSION_BUSY     another job is at work in it, or comes before this one: look again soon
--   SESSION_BLOCKED  that one is held
--   NO_PROJECT       the job that it follows came to an end without a session
-- Safe twice.
local id, fence = ARGV[2], ARGV[3]
local job = load_job(id)
if not job or job.owner == '' or job.fence ~= fence then return {'LOST'} end

local function adopt(found)
  for _, name in ipairs(SESSION) do redis.call('HSET', job_key(id), name, found[name]) end
  job.session_id = found.session_id
end

if job.follows ~= '' then
  local before, why = load_job(job.after)
  if why then return {'SESSION_BUSY', job.after} end
  if before and (before.state == 'queued' or AT_WORK[before.state]) then
    return {stands_still(job.after) and 'SESSION_BLOCKED' or 'SESSION_BUSY', job.after}
  end
  local origin, unread = load_job(job.follows)
  if unread then return {'SESSION_BUSY', job.follows} end
  if not origin then return {'NO_PROJECT', job.follows} end
  if origin.session_id == '' then
    if ENDS[origin.state] then return {'NO_PROJECT', job.follows} end
    return {stands_still(job.follows) and 'SESSION_BLOCKED' or 'SESSION_BUSY', job.follows}
  end
  if not turn_is_paid(job) then
    adopt(origin)
    redis.call('HSETNX', job_key(id), 'media_name', origin.media_name)
  end
elseif job.shared ~= '' and not ever_paid(job) then
  local found = {}
  for _, name in ipairs(SESSION) do
    found[name] = redis.call('HGET', batch_key(job.batch), 'shared:' .. name) or ''
  end
  if found.session_id ~= '' then
    -- What was uploaded before others worked here, or elsewhere, is uploaded again: the newest
    -- picture is the one that a message means.
    local mine = redis.call('HGET', session_key(found.session_id), 'holder') == id
    if job.session_id ~= found.session_id or not mine then
      redis.call('HDEL', job_key(id), 'uploaded', 'uploading')
    end
    adopt(found)
  end
end

local refusal, holder = take_session(id, job)
if refusal then return {refusal, holder} end
return {'OK', redis.call('HGETALL', job_key(id))}
