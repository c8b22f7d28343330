-- Webhook messages that are owed to receivers. They wait apart from the outbox, by receiver (the
-- origin of the URL), so that a slow or dead receiver delays neither Celery results nor other
-- receivers.
--   hook:{ns}:<name>       one message: event, kind, about, url, at, tries; body from its first try
--   hooks:{ns}:<receiver>  zset of what one receiver is owed, score = next try
--   receivers:{ns}         zset of the receivers that are owed anything, score = when to look next
--   ringing:{ns}           zset of the receivers leased by a worker, score = end of the lease
--   meta:{ns}              hooks: how many messages are owed in all
local RECEIVERS = 'receivers:{' .. ns .. '}'
local LEASED = 'ringing:{' .. ns .. '}'

local function webhook_key(name) return 'hook:{' .. ns .. '}:' .. name end
local function receiver_queue_key(receiver) return 'hooks:{' .. ns .. '}:' .. receiver end

local function add_webhook(kind, about, number_of, event, url)
  local name = kind .. '_' .. about .. '_' .. number_of
  local origin = string.match(url, '^%a+://[^/?#]*') or url
  local receiver = redis.sha1hex(string.lower(origin))
  redis.call('HSET', webhook_key(name), 'event', event, 'kind', kind, 'about', about, 'url', url,
    'at', now, 'tries', 0, 'receiver', receiver)
  increment(META, 'hooks', redis.call('ZADD', receiver_queue_key(receiver), now, name))
  redis.call('ZADD', RECEIVERS, 'NX', now, receiver)
end

local function dequeue_webhook(receiver, name)
  increment(META, 'hooks', -redis.call('ZREM', receiver_queue_key(receiver), name))
end

local function delete_webhook(receiver, name)
  dequeue_webhook(receiver, name)
  redis.call('DEL', webhook_key(name))
end

-- Ends a batch whose manifest is complete and that has no queued or running job, and adds its
-- webhook. A job that is added or resumed reopens the batch; it then ends once more.
local function end_batch_if_done(batch)
  local key = batch_key(batch)
  local sealed, ended, url = unpack(redis.pcall('HMGET', key, 'sealed', 'ended', 'webhook'))
  if sealed ~= '1' or ended == '1' then return end
  for state, _ in pairs(STATES) do
    local is_open = state == 'queued' or RUNNING[state]
    if is_open and number(redis.call('HGET', key, 'n:' .. state)) > 0 then return end
  end
  redis.call('HSET', key, 'ended', 1)
  local generation = increment(key, 'generation', 1)
  if url and url ~= '' then add_webhook('batch', batch, generation, 'batch.ended', url) end
end

-- Adds the webhook of a job that has ended or is held now, and ends its batch if it was the last.
local function add_job_webhook(id, revision)
  local url, state, batch = unpack(redis.call('HMGET', job_key(id), 'webhook', 'state', 'batch'))
  if url and url ~= '' then add_webhook('job', id, revision, 'job.' .. state, url) end
  if batch and batch ~= '' then end_batch_if_done(batch) end
end
