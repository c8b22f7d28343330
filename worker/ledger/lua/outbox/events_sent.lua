-- events_sent(id, number, reopened, id, number, reopened, ...) -> OK
-- Takes jobs whose state was sent to Flower off those that are to be sent, unless they have a newer
-- number. With reopened = 1, Flower was told that the job has left its end. Safe twice.
for at = 2, #ARGV, 3 do
  local id, sent, reopened = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if redis.call('ZSCORE', TASK_EVENTS, id) == sent then
    redis.call('ZREM', TASK_EVENTS, id)
    if reopened == '1' then redis.pcall('HDEL', job_key(id), 'reopened') end
  end
end
return 'OK'
