-- Webhook messages that were not delivered yet. They wait apart from the outbox, by receiver (the
-- origin of the URL), so that a slow or dead receiver delays neither Celery results nor other
-- receivers.
--   hook:{ns}:<name>       one message: event, kind, about, url, at, tries; body from its first try
--   hooks:{ns}:<receiver>  zset of the messages to one receiver, score = next try
--   receivers:{ns}         zset of the receivers with messages, score = when to look next
--   ringing:{ns}           zset of the receivers leased by a worker, score = end of the lease
--   hooks_by_age:{ns}      zset of all messages, score = when they were added
--   hook_failures:{ns}:<receiver>  hash of what fails there, by path and for all paths together (*):
--                          <path>:n consecutive failures, :last the time of the last one, and
--                          :until the end of the pause, in which only a new message is a probe
--   meta:{ns}              hooks: how many messages wait in all
local RECEIVERS = 'receivers:{' .. ns .. '}'
local LEASED = 'ringing:{' .. ns .. '}'
local WEBHOOKS_BY_AGE = 'hooks_by_age:{' .. ns .. '}'
local WEBHOOK_MAX_AGE = 24 * 3600 * 1000
local FIRST_PAUSE, LONGEST_PAUSE = 5000, 300000
local ALL_PATHS, FAILURES_TO_PAUSE_ALL = '*', 3

local function webhook_key(name) return 'hook:{' .. ns .. '}:' .. name end
local function receiver_queue_key(receiver) return 'hooks:{' .. ns .. '}:' .. receiver end
local function failures_key(receiver) return 'hook_failures:{' .. ns .. '}:' .. receiver end
local function webhook_path(url) return redis.sha1hex(string.match(url, '^[^?#]*')) end

local function paused_until(receiver, path)
  return number(redis.call('HGET', failures_key(receiver), path .. ':until'))
end

-- Pauses a path, or all paths of a receiver, from the given number of consecutive failures on.
local function note_failure(receiver, path, needed)
  local key = failures_key(receiver)
  local failures = redis.call('HINCRBY', key, path .. ':n', 1)
  redis.call('HSET', key, path .. ':last', now)
  if failures >= needed then
    local pause = math.min(FIRST_PAUSE * 2 ^ math.min(failures - needed, 10), LONGEST_PAUSE)
    redis.call('HSET', key, path .. ':until', string.format('%d', now + pause))
  end
  redis.call('PEXPIRE', key, 2 * WEBHOOK_MAX_AGE)
end

local function note_success(receiver, path)
  redis.call('HDEL', failures_key(receiver), path .. ':n', path .. ':last', path .. ':until')
end

-- Ends a pause for a new message, a few seconds after the last failure.
local function shorten_pause(receiver, path)
  local key = failures_key(receiver)
  local last, paused = unpack(redis.call('HMGET', key, path .. ':last', path .. ':until'))
  if number(paused) > now then
    local probe = math.max(now, math.min(number(paused), number(last) + FIRST_PAUSE))
    redis.call('HSET', key, path .. ':until', string.format('%d', probe))
  end
end

local function receiver_of(url)
  local origin = string.match(url, '^%a+://[^/?#]*') or url
  return redis.sha1hex(string.lower(origin))
end

local function add_webhook(kind, about, number_of, event, url)
  local name = kind .. '_' .. about .. '_' .. number_of
  local receiver = receiver_of(url)
  redis.call('HSET', webhook_key(name), 'event', event, 'kind', kind, 'about', about, 'url', url,
    'at', now, 'tries', 0, 'receiver', receiver)
  increment(META, 'hooks', redis.call('ZADD', receiver_queue_key(receiver), now, name))
  redis.call('ZADD', WEBHOOKS_BY_AGE, now, name)
  shorten_pause(receiver, webhook_path(url))
  shorten_pause(receiver, ALL_PATHS)
  redis.call('ZADD', RECEIVERS, 'NX', now, receiver)
  if not redis.call('ZSCORE', LEASED, receiver) then
    redis.call('ZADD', RECEIVERS, 'LT', math.max(now, paused_until(receiver, ALL_PATHS)), receiver)
  end
end

local function dequeue_webhook(receiver, name)
  increment(META, 'hooks', -redis.call('ZREM', receiver_queue_key(receiver), name))
  redis.call('ZREM', WEBHOOKS_BY_AGE, name)
end

local function delete_webhook(receiver, name)
  dequeue_webhook(receiver, name)
  redis.call('DEL', webhook_key(name))
end

-- Deletes a message that is not delivered; the record of its job or batch stores why.
local function give_up_webhook(name, why)
  local kind, about, receiver =
    unpack(redis.call('HMGET', webhook_key(name), 'kind', 'about', 'receiver'))
  local record = kind == 'batch' and batch_key(about) or job_key(about or '')
  if redis.call('EXISTS', record) == 1 then
    redis.pcall('HSET', record, 'webhook_error', why)
  end
  delete_webhook(receiver, name)
end

-- Gives up the oldest messages, at most `limit`, that are over the age, whatever their backlog.
local function expire_webhooks(limit)
  local old = redis.call('ZRANGEBYSCORE', WEBHOOKS_BY_AGE, '-inf', now - WEBHOOK_MAX_AGE,
    'LIMIT', 0, limit)
  for _, name in ipairs(old) do
    local fields = redis.pcall('HMGET', webhook_key(name), 'error', 'receiver')
    if fields.err or not fields[2] then
      redis.call('ZREM', WEBHOOKS_BY_AGE, name)
    else
      local last = fields[1] or redis.call('HGET', failures_key(fields[2]), ALL_PATHS .. ':error')
      give_up_webhook(name, 'not delivered within a day' .. (last and ': ' .. last or ''))
    end
  end
end

-- Ends a batch whose manifest is complete and that has no queued or running job, and adds its
-- webhook. A job that is added or resumed reopens the batch; it then ends once more.
local function end_batch_if_done(batch)
  local key = batch_key(batch)
  local sealed, ended, url = unpack(redis.pcall('HMGET', key, 'sealed', 'ended', 'webhook'))
  if sealed ~= '1' or ended == '1' then return end
  write_changes()
  local open = {'n:queued'}
  for state, _ in pairs(RUNNING) do open[#open + 1] = 'n:' .. state end
  for _, jobs in ipairs(redis.call('HMGET', key, unpack(open))) do
    if jobs and number(jobs) > 0 then return end
  end
  redis.call('HSET', key, 'ended', 1)
  local generation = increment(key, 'generation', 1)
  if url and url ~= '' then add_webhook('batch', batch, generation, 'batch.ended', url) end
end

-- Adds the webhook of a job that has ended or is held now, and ends its batch if it was the last.
local function add_job_webhook(id, job)
  if job.webhook ~= '' then
    add_webhook('job', id, job.revision, 'job.' .. job.state, job.webhook)
  end
  if job.batch ~= '' then end_batch_if_done(job.batch) end
end
