-- events_sent(id, number, reopened, id, number, reopened, ...) -> OK
-- Removes the marks of jobs whose state was sent to Flower, unless they have a newer number. With
-- reopened = 1, an event was sent that the job has left its end. Safe twice.
local ids, sent = {}, {}
for at = 2, #ARGV, 3 do ids[#ids + 1] = ARGV[at] end
local numbers = redis.call('ZMSCORE', TASK_EVENTS, unpack(ids))
for at, id in ipairs(ids) do
  if numbers[at] == ARGV[3 * at] then
    sent[#sent + 1] = id
    if ARGV[3 * at + 1] == '1' then redis.pcall('HDEL', job_key(id), 'reopened') end
  end
end
if #sent > 0 then redis.call('ZREM', TASK_EVENTS, unpack(sent)) end
return 'OK'
