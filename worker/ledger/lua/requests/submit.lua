-- submit(jobs) -> {verdict, id, verdict, id, ...}
-- Writes new jobs as queued and puts each into its flow. The argument is a JSON list of objects:
--   id, key, fingerprint, flow, batch, row, fields (further fields of the record, as text)
--   replaces: a job of the batch, whose row the new job takes over if its job has failed or was
--   cancelled, or ''             content: the hash of what that row requests
-- OK | DUPLICATE | CONFLICT        (the key is known with another payload)
-- A pruned job leaves its key as a tombstone, `id|fingerprint|state`, so that the key stays known.
-- Safe twice: the second run finds the key, or the id, and answers DUPLICATE.

-- The failed or cancelled job whose row a new job takes over. -> id, record | nil
local function find_replaced(job)
  local id = job.replaces
  local old = id ~= '' and load_job(id)
  while old and old.replaced_by ~= '' do
    id = old.replaced_by
    old = load_job(id)
  end
  local has_ended = old and (old.state == 'failed' or old.state == 'cancelled')
  if has_ended and old.batch == job.batch then return id, old end
end

-- Gives the row of a job to a new one, with its further lines.
local function take_row_over(id, job, old_id, old)
  for _, name in ipairs({'manifest', 'claim'}) do
    if old[name] ~= '' then redis.call('HSET', job_key(id), name, old[name]) end
  end
  local content = old.v == '1' and job.content or old.fingerprint
  redis.call('HSET', job_key(id), 'content', old.content ~= '' and old.content or content,
    'line', old.line ~= '' and old.line or old.payload)
  local lines = lines_of(old)
  for at = 1, #lines, 2 do
    local member = line_member(old_id, lines[at])
    local row = redis.call('ZSCORE', rows_key(job.batch), member)
    redis.call('HSET', job_key(id), 'lines', 1, 'line:' .. lines[at], lines[at + 1])
    redis.call('ZADD', rows_key(job.batch), row or job.row, line_member(id, lines[at]))
  end
  replace_job(old_id, old, id)
end

local function write(job)
  local id = job.id
  check_places(job)
  local old_id, old = find_replaced(job)
  -- SET with GET refuses a key of another type by itself, before it writes.
  if job.key ~= '' then
    local known = redis.call('SET', idempotency_key(job.key),
      id .. '|' .. job.fingerprint, 'NX', 'GET')
    if known then
      local old_id, old_print = string.match(known, '^([^|]*)|([^|]*)')
      if old_print ~= job.fingerprint then return 'CONFLICT', old_id end
      return 'DUPLICATE', old_id
    end
  end
  if redis.call('EXISTS', job_key(id)) == 1 then return 'DUPLICATE', id end
  -- A row that a recovery restores is known by what it requests, too.
  if job.batch ~= '' and (job.fields.parent or '') == '' then
    redis.call('SET', idempotency_key('batch:' .. job.batch .. ':' .. job.fingerprint),
      id .. '|' .. job.fingerprint, 'NX')
  end
  write_job(id, job)
  if old then take_row_over(id, job, old_id, old) end
  return 'OK', id
end

return for_each_job(cjson.decode(ARGV[2]), write)
