-- submit(id, key, fingerprint, flow, batch, row, field, value, ...)
-- Writes a new job as queued and puts it into its flow.
-- -> OK id | DUPLICATE id | CONFLICT id        (a key that is known with another payload)
-- Safe twice: the second run finds the key, or the id, and answers DUPLICATE.
local id, key, fingerprint, flow, batch, row =
  ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]

if key ~= '' then
  local idem = 'idem:{' .. ns .. '}:' .. key
  local known = redis.call('GET', idem)
  if known then
    local old_id, old_print = string.match(known, '^([^|]*)|(.*)$')
    if old_print ~= fingerprint then return {'CONFLICT', old_id} end
    return {'DUPLICATE', old_id}
  end
  redis.call('SET', idem, id .. '|' .. fingerprint)
end
if redis.call('EXISTS', job_key(id)) == 1 then return {'DUPLICATE', id} end

redis.call('HSET', job_key(id), 'v', 1, 'id', id, 'key', key, 'fingerprint', fingerprint,
  'flow', flow, 'batch', batch, 'state', 'queued', 'turn', 1, 'paid', 0, 'fence', 0,
  'created_at', now, 'entered_at', now, unpack(ARGV, 8))
local job = load_job(id)
count(job, 'n:queued', 1)
redis.call('ZADD', JOBS, now, id)
if batch ~= '' then
  redis.call('ZADD', 'rows:{' .. ns .. '}:' .. batch, row, id)
end
enqueue(id, job)
return {'OK', id}
