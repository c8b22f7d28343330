-- watch(owner, lease, longest, extend, ticked)
--   -> {time of the server, offset, last tick, leads, work, events, webhooks, polls}
-- Reports what a process has to do: the times are in ms, the rest is 0 or 1.
--   leads   whether this worker has the leader lease. It takes the lease for `lease` ms if that is free,
--           and with `extend` = 1 extends its own; never with an empty owner. A lease that lasts longer
--           than `longest` ms, because the server's clock was set back, is cut to `lease` ms.
--   work    something is due for the ticker      events  there are states to send to Flower
--   polls   renders wait for their next poll     webhooks  there are messages to receivers
--   ticked  when this worker led and the clock was steady, which becomes the last tick, or ''
-- The last tick is that before. Safe twice.
local owner, lease, longest, extend, ticked =
  ARGV[2], ARGV[3], number(ARGV[4]), ARGV[5] == '1', ARGV[6]
local LEADER = 'ticker:{' .. ns .. '}'
local REPLAY_AT = 'task_replay_at:{' .. ns .. '}'

local leads = 0
if owner ~= '' then
  local leader = redis.call('GET', LEADER)
  if not leader then
    redis.call('SET', LEADER, owner, 'PX', lease)
  elseif leader == owner and extend or leader ~= owner and redis.call('PTTL', LEADER) > longest then
    redis.call('PEXPIRE', LEADER, lease)
  end
  leads = (not leader or leader == owner) and 1 or 0
end
if leads == 1 and ticked ~= '' and meta.is_readable then
  redis.call('HSET', META, 'last_tick', ticked)
end

local function exist(...) return redis.call('EXISTS', ...) > 0 end

-- A key that holds another type counts as work, so that the script that uses it reports the error.
local function has_due(key, at)
  local first = redis.pcall('ZRANGEBYSCORE', key, '-inf', at, 'LIMIT', 0, 1)
  return first.err ~= nil or #first > 0
end

local function has_work()
  return meta.blocked_since ~= nil or exist(FLOWS) or has_due(AGENDA, now)
    or has_due(SCHEDULED, server_time) or has_due(OUTBOX, now) or has_due(RECEIVERS, now)
    or has_due(WEBHOOKS_BY_AGE, now - WEBHOOK_MAX_AGE)
end

local work, events, webhooks, polls = meta.blocked_since ~= nil, false, false, false
if exist(AGENDA, FLOWS, SCHEDULED, OUTBOX, RECEIVERS, WEBHOOKS_BY_AGE, TASK_EVENTS, TASK_REPLAY,
         REPLAY_AT, POLLS) then
  polls = exist(POLLS)
  if leads == 1 then
    work, events = has_work(), exist(TASK_EVENTS, TASK_REPLAY, REPLAY_AT)
    webhooks = exist(RECEIVERS, WEBHOOKS_BY_AGE)
  end
end
local function bit(is_true) return is_true and 1 or 0 end
return {server_time, clock_offset, number(meta.last_tick), leads, bit(work), bit(events),
  bit(webhooks), bit(polls)}
