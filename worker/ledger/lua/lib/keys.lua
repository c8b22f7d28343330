-- Key names, and the functions for scripts that need neither the time nor whole records.
-- KEYS[1] is always meta:{ns}, ARGV[1] always the namespace.
local ns = ARGV[1]
local META = KEYS[1]

local AGENDA = 'agenda:{' .. ns .. '}'
local POLLS = 'polls:{' .. ns .. '}'
local FLOWS = 'flows:{' .. ns .. '}'
local SCHEDULED = 'scheduled:{' .. ns .. '}'
local OUTBOX = 'outbox:{' .. ns .. '}'
local TASK_EVENTS = 'task_events:{' .. ns .. '}'
local TASK_REPLAY = 'task_replay:{' .. ns .. '}'
local COUNTS = 'counts:{' .. ns .. '}'
local PREPARING = 'preparing:{' .. ns .. '}'
local FETCHING = 'fetching:{' .. ns .. '}'  -- those of PREPARING that have a source
local JOBS = 'jobs:{' .. ns .. '}'
local PACE = 'pace:{' .. ns .. '}'
local UNREADABLE = 'unreadable:{' .. ns .. '}'

local function job_key(id) return 'job:{' .. ns .. '}:' .. id end
local function idempotency_key(key) return 'idem:{' .. ns .. '}:' .. key end
local function flow_key(flow) return 'flow:{' .. ns .. '}:' .. flow end
local function batch_key(batch) return 'batch:{' .. ns .. '}:' .. batch end
local function rows_key(batch) return 'rows:{' .. ns .. '}:' .. batch end
local function account_key(account) return 'account:{' .. ns .. '}:' .. account end
local function slots_key(account) return 'slots:{' .. ns .. '}:' .. account end
local function reserved_key(account) return 'reserved:{' .. ns .. '}:' .. account end
local function ended_key(account) return 'ended:{' .. ns .. '}:' .. account end
local function held_key(account, reason)
  if account == nil or account == '' then account = '-' end
  return 'held:{' .. ns .. '}:' .. account .. ':' .. reason
end

local function number(text) return tonumber(text) or 0 end

-- Whether the job is owned under this fence: `<number>:<nonce of the claim>`. Numbers repeat after
-- Redis was flushed or restored from a backup, nonces do not.
local function is_owned(job, fence)
  return job.owner ~= '' and job.fence .. ':' .. job.nonce == fence
end
