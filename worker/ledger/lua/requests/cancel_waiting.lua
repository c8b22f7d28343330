-- cancel_waiting(flow, n) -> {verdict, ...} of the first n jobs of a flow
-- As cancel, but takes the jobs off the head of the flow, so that the cost does not grow with the
-- number of jobs behind them. A job that may not end yet goes to the end of the flow. A second run
-- takes the next jobs.
local flow, out = ARGV[2], {}
require_type('zset', FLOWS)
for _, id in ipairs(redis.call('LRANGE', flow_key(flow), 0, ARGV[3] - 1)) do
  local job = load_job(id)
  if job then require_writable(id, job) end
end
for _, id in ipairs(redis.call('LPOP', flow_key(flow), ARGV[3]) or {}) do
  local job, why = load_job(id)
  local verdict = job and request_cancel(id, job) or why and 'UNREADABLE' or 'GONE'
  if verdict == 'REQUESTED' or verdict == 'CONTINUES' then
    redis.call('RPUSH', flow_key(flow), id)
  end
  out[#out + 1] = verdict
end
return out
