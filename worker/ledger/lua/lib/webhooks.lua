-- Webhooks: messages that are owed to receivers. Stands behind the prelude in every script. They
-- wait apart from the outbox, by receiver (the address's origin), so that one which is slow or dead
-- holds up neither a Celery result nor another receiver.
--   hook:{ns}:<name>       one message: event, kind, about, url, at, tries; body from its first try
--   hooks:{ns}:<receiver>  zset of what one receiver is owed, score = when it is tried next
--   receivers:{ns}         zset of the receivers that are owed anything, score = when to look next
--   ringing:{ns}           zset of the receivers that a worker talks to, score = until when at most
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

-- A batch ends when its manifest is wholly in and nothing of it waits or runs. It is told once for
-- each time: what lets a job go on, or brings a new one, opens it again.
local OPEN_COUNTERS = {'n:queued', 'n:preparing', 'n:generating', 'n:settling', 'n:rendering',
              'n:delivering'}
local function end_batch_if_done(batch)
  local key = batch_key(batch)
  local sealed, ended, url = unpack(redis.pcall('HMGET', key, 'sealed', 'ended', 'webhook'))
  if sealed ~= '1' or ended == '1' then return end
  for _, jobs in ipairs(redis.call('HMGET', key, unpack(OPEN_COUNTERS))) do
    if number(jobs) > 0 then return end
  end
  redis.call('HSET', key, 'ended', 1)
  local generation = increment(key, 'generation', 1)
  if url and url ~= '' then add_webhook('batch', batch, generation, 'batch.ended', url) end
end

after_notify = function(id, revision)
  local url, state, batch = unpack(redis.call('HMGET', job_key(id), 'webhook', 'state', 'batch'))
  if url and url ~= '' then add_webhook('job', id, revision, 'job.' .. state, url) end
  if batch and batch ~= '' then end_batch_if_done(batch) end
end
