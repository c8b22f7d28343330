-- cancel_waiting(flow, n) -> {verdict, ...} of the first n jobs that wait in a flow
-- As cancel, taking the jobs off the flow's head, so that the cost is the same however many wait
-- behind. What may not end yet goes to the flow's end. A second run takes the next ones.
local flow, out = ARGV[2], {}
for _, id in ipairs(redis.call('LPOP', flow_key(flow), ARGV[3]) or {}) do
  local job, why = load_job(id)
  local verdict = job and request_cancel(id, job) or why and 'UNREADABLE' or 'GONE'
  if verdict == 'REQUESTED' then redis.call('RPUSH', flow_key(flow), id) end
  out[#out + 1] = verdict
end
return out
