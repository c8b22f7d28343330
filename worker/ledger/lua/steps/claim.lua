-- claim(id, owner, nonce, lease, margin, suspect_delay, version)
-- Makes a worker the owner of a job for one lease, under a new fence. The record alone decides
-- whether the job may run, not the wake-up message and not the agenda's score.
--   lease          ms          margin  ms after the lease until others may claim the job
--   suspect_delay  ms until a job that must wait for another suspect is dispatched again
--   version        the newest version of a record that the worker can read
-- -> OK {record} now | BUSY | EARLY | NEWER | GONE | POISON | UNREADABLE
-- Safe twice: the same owner and nonce get the same fence again.
local id, owner, nonce, lease, margin, suspect_delay, version =
  ARGV[2], ARGV[3], ARGV[4], number(ARGV[5]), number(ARGV[6]), number(ARGV[7]), number(ARGV[8])

require_type('hash', META)
local job, why = load_job(id)
if why then return {'UNREADABLE'} end
if not job or not RUNNING[job.state] then
  redis.call('ZREM', AGENDA, id)
  return {'GONE'}
end
if job.owner == owner and job.nonce == nonce then
  return {'OK', flat_list(job), now}
end
if job.owner ~= '' and number(job.lease) > now then return {'BUSY'} end
if number(job.not_before) > now then
  redis.call('ZADD', AGENDA, job.not_before, id)
  return {'EARLY'}
end
-- A worker of an older version leaves the job to the newer workers, and changes nothing of it.
if number(job.v) > version then
  redis.call('ZADD', AGENDA, now + suspect_delay, id)
  return {'NEWER'}
end

-- If the job still has an owner, whose lease has ended, that worker counts as crashed.
local crashes = number(job.crashes)
if job.owner ~= '' then crashes = crashes + 1 end
if crashes >= 5 then
  require_writable(id, job, 'poison')
  take_off_agenda(id)
  change(id, job, 'crashes', crashes, 'owner', '', 'nonce', '', 'lease', 0,
    'resume', job.state, 'message',
    'Five workers in a row died while they were working on this job.',
    'remedy', string.format(POISON_REMEDY, id))
  end_call(job, job['call:' .. job.turn])
  move(id, job, 'held', 'poison')
  notify(id, job)
  return {'POISON'}
end
-- From the second crash on, a job is a suspect. Only one suspect runs at a time, in all workers, so
-- that a job that crashes its workers does not raise the crash counts of others for long.
if crashes >= SUSPECT_CRASHES then
  require_type('zset', AGENDA)
  local suspect, till = unpack(redis.call('HMGET', META, 'suspect', 'suspect_until'))
  if suspect and suspect ~= id and number(till) > now then
    redis.call('ZADD', AGENDA, now + suspect_delay, id)
    change(id, job, 'crashes', crashes, 'owner', '', 'nonce', '', 'lease', 0)
    return {'EARLY'}
  end
  redis.call('HSET', META, 'suspect', id, 'suspect_until', now + lease + margin)
end

-- The first write, which fails by itself if the agenda's key holds another type.
redis.call('ZADD', AGENDA, now + lease + margin, id)
local fence = number(job.fence) + 1
-- Three numbers: ms from the end of the last owner's lease to this claim; the part of them after the
-- grace period that follows an outage; the time of this claim.
if job.owner ~= '' then
  local claimable_at = math.max(number(job.lease), number(redis.call('HGET', META, 'grace_until')))
  change(id, job, 'late:' .. fence,
    (now - number(job.lease)) .. ' ' .. math.max(0, now - claimable_at) .. ' ' .. now)
end
if job.started_at == '' then change(id, job, 'started_at', now) end
-- Flower shows the worker. A poll by another worker is not worth an event.
if job.worker ~= owner and (job.worker == '' or job.state ~= 'rendering') then announce(id) end
change(id, job, 'owner', owner, 'nonce', nonce, 'crashes', crashes, 'lease', now + lease,
  'worker', owner, 'fence', fence, 'attempts', number(job.attempts) + 1)
return {'OK', flat_list(job), now}
