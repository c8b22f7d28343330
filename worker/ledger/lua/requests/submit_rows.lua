-- submit_rows(batch, submission, manifest, mode, redo, dry, rows) -> {verdict, id, verdict, id, ...}
-- Writes the rows of a manifest: finds the current job of each, or makes one.
--   submission  the same for all calls for one manifest   manifest  names its file or folder, or ''
--   mode  new: the batch had no rows before  more: it had  end: these rows were answered DEFERRED
--   redo  1: a changed row is made again even if its job has a clip, or has paid and not ended
--   dry   1: nothing is written; the answers are those for a submission that begins here
--   rows  a JSON list of objects: as for submit, and
--         content: hash of what it requests
--         manifest_row: its number in the manifest; `row` is its number in the results
--         former_key: the key that version 1 gave such a row, or ''
--         plain_key: its key where `key` names an aspect of the batch too, or ''
--         single_fingerprint: the fingerprint of a single job that requests the same, or ''
--         earlier_job: in mode `end`, the job of the same image that no row of the manifest has, or ''
--         correction: 1 if it is from a file of rejected rows; then `row` is its number in the
--                     manifest that was submitted first
-- A row finds its job by its key, else by its content, else (in mode `end`, without a key) by its image.
--   it finds      with                            then
--   no job                                        OK         a new job is written as queued
--   a job         the same content                DUPLICATE  the row's columns, priority and webhook
--                                                            are written into it
--   a job         other content, unpaid or        REPLACED   a new job takes the place of that one, which
--                 failed or cancelled                        is cancelled if it has not ended
--   a job         other content, with a clip,     KEPT       it keeps its job; also if the record of the job
--                 or paid and not ended                      cannot be read
--   a job         the same, and redo is 1         REMADE     as REPLACED
--   a job of another row of this manifest, or of another batch, by its key   CONFLICT
--   a changed job, before the end of the manifest, that another row may have   DEFERRED
-- For example, a batch has jobs for a.jpg, b.jpg and c.jpg, none with a key; that of c.jpg has a clip. Its
-- manifest is submitted again with b.jpg under another prompt, c.jpg under another prompt, and d.jpg:
--   a.jpg is DUPLICATE. The others find no job by content: DEFERRED. At the end, b.jpg is REPLACED, c.jpg KEPT
--   (REMADE with redo), and d.jpg OK.
-- Whether a job has paid is decided in the same script that cancels it: begin_paid does not pay for a
-- job whose cancellation is noted. Safe twice: the second run finds the jobs of the first.
local batch, submission, manifest, mode, redo, dry =
  ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6] == '1', ARGV[7] == '1'

local FIELDS = {'batch', 'fingerprint', 'content', 'replaced_by', 'key', 'claim', 'lines', 'state',
                'paid', 'payload', 'line', 'webhook', 'flow', 'row', 'manifest', 'parent', 'row_key'}
local LONGEST_CHAIN = 10000

local function content_key(row) return 'batch:' .. batch .. ':' .. row.content end

-- The fields of a job, of the job that has replaced it if it was. -> job | nil
local function current_job(id)
  for _ = 1, LONGEST_CHAIN do
    local found = redis.call('HMGET', job_key(id), unpack(FIELDS))
    local job = {id = id}
    for at, name in ipairs(FIELDS) do job[name] = found[at] or '' end
    if job.fingerprint == '' then return nil end
    if job.content == '' then job.content = job.fingerprint end
    if job.row_key ~= '' then job.key = job.row_key end
    if job.replaced_by == '' then return job end
    if redis.call('EXISTS', job_key(job.replaced_by)) == 0 then
      return {id = job.replaced_by, pruned = true, content = job.content}
    end
    id = job.replaced_by
  end
end

-- The job that a key names now. A pruned job is one without a state.
local function find(key)
  if key == '' then return nil end
  local known = redis.call('GET', idempotency_key(key))
  if not known then return nil end
  local id, fingerprint = string.match(known, '^([^|]*)|([^|]*)')
  return current_job(id) or {id = id, pruned = true, content = fingerprint}
end

-- The row of this submission that the job was written for last, or nil.
local function last_row_of(job)
  local name, number = string.match(job.claim, '^(.*):(%d+)$')
  return name == submission and tonumber(number) or nil
end

local function prefix() return manifest .. '.' end

local function is_of_this_manifest(line) return string.sub(line, 1, #prefix()) == prefix() end

-- Whether a job has lines of other manifests, which still ask for it.
local function has_other_lines(job)
  if job.lines == '' then return false end
  for _, name in ipairs(redis.call('HKEYS', job_key(job.id))) do
    if string.sub(name, 1, 5) == 'line:' and not is_of_this_manifest(string.sub(name, 6)) then
      return true
    end
  end
  return false
end

-- What becomes of a row whose content differs from that of its job. -> verdict, the job that it is
-- about, a job to retire or nil. The row's job is retired if another job of the batch already has the
-- new content, and no other row uses the row's job.
local function decide_change(row, job)
  local other_row = last_row_of(job)
  if other_row == row.manifest_row then other_row = nil end
  if other_row and row.key ~= '' and job.key == row.key then return 'CONFLICT', job end
  if mode ~= 'end' and (job.lines ~= '' or row.key ~= job.key) then return 'DEFERRED', job end
  local is_paid_for = job.state == 'succeeded' or not ENDS[job.state] and number(job.paid) > 0
  if is_paid_for and not redo then return 'KEPT', job end
  local has_other_rows = other_row or has_other_lines(job)
  local same = find(content_key(row))
  if same and not same.pruned and same.content == row.content then
    return 'DUPLICATE', same, not has_other_rows and job or nil
  end
  if has_other_rows then return 'OK', job end
  return is_paid_for and 'REMADE' or 'REPLACED', job
end

-- What a row does. Reads only. -> verdict, the job that it is about or nil, a job to retire or nil
local function decide(row)
  local job = find(row.key)
  if job then
    if job.content == row.content then return 'DUPLICATE', job end
    if job.pruned or job.batch ~= batch then return 'CONFLICT', job end
    return decide_change(row, job)
  end
  -- The row may have been made before its batch was submitted in several aspects.
  job = find(row.plain_key)
  if job and (job.content == row.content or job.content == row.single_fingerprint) then
    return 'DUPLICATE', job
  end
  job = find(content_key(row))
  if job and (job.pruned or job.content == row.content) then return 'DUPLICATE', job end
  job = find(row.former_key)
  if job and (job.pruned or row.former_key == 'batch:' .. batch .. ':' .. job.content) then
    return 'DUPLICATE', job
  end
  if row.key ~= '' or mode == 'new' then return 'OK' end
  if mode == 'more' then return 'DEFERRED' end
  job = row.earlier_job ~= '' and current_job(row.earlier_job)
  if not job or job.pruned or job.batch ~= batch then return 'OK' end
  return decide_change(row, job)
end

-- An id that no job has: the row's own, or one that follows from it and from the job before.
local function free_id(row, job)
  local id = row.id
  while redis.call('EXISTS', job_key(id)) == 1 do
    local hash = redis.sha1hex(id .. ' after ' .. (job and job.id or ''))
    id = string.format('%s-%s-5%s-a%s-%s', string.sub(hash, 1, 8), string.sub(hash, 9, 12),
      string.sub(hash, 14, 16), string.sub(hash, 18, 20), string.sub(hash, 21, 32))
  end
  return id
end

-- Writes a row's job under an id, and makes its key and its content name that job. If the row had
-- another job, which may be in the payment journal under the row's key, the new job has its own key in
-- the journal, so that a recovery can distinguish both.
local function write_row(id, row)
  local names = id .. '|' .. row.content
  redis.call('SET', idempotency_key(content_key(row)), names)
  if row.key ~= '' then redis.call('SET', idempotency_key(row.key), names) end
  row.fields.manifest = manifest
  row.fields.claim = submission .. ':' .. row.manifest_row
  if id ~= row.id then
    if row.key ~= '' then row.fields.row_key = row.key end
    row.key = content_key(row) .. ':' .. id
  elseif row.key == '' then
    row.key = content_key(row)
  end
  write_job(id, row)
end

-- Replaces the job of a row. An unpaid one is cancelled; if a worker owns it, its cancellation is
-- noted, and nothing is paid for it any more.
local function retire(old_id, old, by)
  if not ENDS[old.state] and not ever_paid(old) then
    if request_cancel(old_id, old) == 'CANCELLED' and old.state_before == 'queued' then
      redis.call('LREM', flow_key(old.flow), 1, old_id)
    end
  end
  replace_job(old_id, old, by)
end

-- Changes the priority of a job, which moves it to another flow if it waits in one.
local function change_flow(job, flow)
  if job.flow == flow or job.parent ~= '' then return end
  if job.state == 'queued' and redis.call('LREM', flow_key(job.flow), 1, job.id) == 1 then
    enqueue({job.id}, flow, batch)
  end
  redis.call('HSET', job_key(job.id), 'flow', flow)
end

-- Writes a row into the job's record, as the first of the manifest that has this job.
local function write_own_row(job, row)
  local id, payload, changed = job.id, row.fields.payload, false
  if job.lines ~= '' and not last_row_of(job) then
    for _, name in ipairs(redis.call('HKEYS', job_key(id))) do
      local line = string.sub(name, 1, 5) == 'line:' and string.sub(name, 6)
      if line and is_of_this_manifest(line) then
        redis.call('HDEL', job_key(id), name)
        redis.call('ZREM', rows_key(batch), line_member(id, line))
        changed = true
      end
    end
  end
  local fields = {'claim', submission .. ':' .. row.manifest_row, 'manifest', manifest}
  if row.key ~= '' and row.key ~= job.key then
    fields[#fields + 1], fields[#fields + 2] = 'row_key', row.key
  end
  local name = job.line == '' and 'payload' or 'line'
  if job[name] ~= payload then
    fields[#fields + 1], fields[#fields + 2], changed = name, payload, true
  end
  local webhook = row.fields.webhook
  if webhook and webhook ~= job.webhook then
    fields[#fields + 1], fields[#fields + 2] = 'webhook', webhook
  end
  if tostring(row.row) ~= job.row then
    fields[#fields + 1], fields[#fields + 2], changed = 'row', row.row, true
    redis.call('ZADD', rows_key(batch), row.row, id)
  end
  redis.call('HSET', job_key(id), unpack(fields))
  change_flow(job, row.flow)
  return changed
end

-- Writes a further row of the manifest that has this job as a line of its own.
local function add_line(job, row)
  local line = prefix() .. row.manifest_row
  if row.correction == 1 then line = job.manifest .. '.' .. row.row end
  local is_new = redis.call('HSET', job_key(job.id), 'lines', 1, 'line:' .. line,
    row.fields.payload) > 0
  redis.call('ZADD', rows_key(batch), row.row, line_member(job.id, line))
  return is_new
end

local function write_known(job, row, kept)
  check_places({flow = job.flow, batch = batch})
  if row.key ~= '' and not kept then
    local key, names = idempotency_key(row.key), job.id .. '|' .. row.content
    if redis.call('GET', key) ~= names then redis.call('SET', key, names) end
  end
  local other = last_row_of(job)
  local is_further = row.correction == 1 and job.row ~= tostring(row.row)
    or row.correction ~= 1 and other and other ~= row.manifest_row
  if kept and not is_further then
    -- It is still the row of this job, but its columns are those of the clip that it has.
    redis.call('HSET', job_key(job.id), 'claim', submission .. ':' .. row.manifest_row)
    return
  end
  local write_line = is_further and add_line or write_own_row
  if write_line(job, row) then increment(batch_key(batch), 'revised', 1) end
end

-- Writes a row without a key that is the first with its content, in as few commands as possible.
local function write_first(row)
  local key = idempotency_key(content_key(row))
  if redis.call('SET', key, row.id .. '|' .. row.content, 'NX', 'GET') then return nil end
  if redis.call('EXISTS', job_key(row.id), idempotency_key(row.former_key)) > 0 then
    redis.call('DEL', key)
    return nil
  end
  row.fields.manifest = manifest
  row.fields.claim = submission .. ':' .. row.manifest_row
  row.key = content_key(row)
  write_job(row.id, row)
  return row.id
end

local function write(row)
  row.batch, row.fingerprint = batch, row.content
  check_places(row)
  if mode == 'new' and row.key == '' and not dry then
    local id = write_first(row)
    if id then return 'OK', id end
  end
  local verdict, job, retired = decide(row)
  if dry or verdict == 'CONFLICT' or verdict == 'DEFERRED' then
    return verdict, job and job.id or ''
  end
  retired = retired or (verdict == 'REPLACED' or verdict == 'REMADE') and job
  local old = retired and load_job(retired.id)
  if retired and not old then return 'KEPT', retired.id end
  if old then require_writable(retired.id, old) end
  if old and verdict == 'DUPLICATE' then retire(retired.id, old, job.id) end
  if verdict == 'DUPLICATE' or verdict == 'KEPT' then
    if not job.pruned and job.batch == batch then write_known(job, row, verdict == 'KEPT') end
    return verdict, job.id
  end
  local id = free_id(row, job)
  if old then retire(retired.id, old, id) end
  write_row(id, row)
  return verdict, id
end

return for_each_job(cjson.decode(ARGV[8]), write)
