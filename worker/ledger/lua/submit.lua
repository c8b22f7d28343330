-- submit(job, job, ...) -> {verdict, id, verdict, id, ...}
-- Writes new jobs as queued and puts each into its flow. A job is so many values:
--   id, key, fingerprint, flow, batch, row, count of what follows, field, value, ...
-- OK | DUPLICATE | CONFLICT        (a key that is known with another payload)
-- The key of a job that was pruned is known for good: a tombstone, `id|fingerprint|state`.
-- Safe twice: the second run finds the key, or the id, and answers DUPLICATE.
local function write(id, key, fingerprint, flow, batch, row, first, last)
  if key ~= '' then
    local idem = 'idem:{' .. ns .. '}:' .. key
    local known = redis.call('GET', idem)
    if known then
      local old_id, old_print = string.match(known, '^([^|]*)|([^|]*)')
      if old_print ~= fingerprint then return 'CONFLICT', old_id end
      return 'DUPLICATE', old_id
    end
    redis.call('SET', idem, id .. '|' .. fingerprint)
  end
  if redis.call('EXISTS', job_key(id)) == 1 then return 'DUPLICATE', id end

  redis.call('HSET', job_key(id), 'v', 1, 'id', id, 'key', key, 'fingerprint', fingerprint,
    'flow', flow, 'batch', batch, 'state', 'queued', 'turn', 1, 'paid', 0, 'fence', 0,
    'created_at', now, 'entered_at', now, 'row', row,
    unpack(ARGV, first, last))
  line_up(id)
  redis.call('ZADD', JOBS, now, id)
  if batch ~= '' then
    redis.call('ZADD', 'rows:{' .. ns .. '}:' .. batch, row, id)
    redis.call('HDEL', batch_key(batch), 'ended')
  end
  count({batch = batch}, 'n:queued', 1)
  enqueue(id, {batch = batch, flow = flow})
  return 'OK', id
end

local out, at = {}, 2
while at <= #ARGV do
  local last = at + 6 + tonumber(ARGV[at + 6])
  out[#out + 1], out[#out + 2] = write(ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3],
    ARGV[at + 4], ARGV[at + 5], at + 7, last)
  at = last + 1
end
return out
