-- index_rows(batch, manifest, id, content, id, content, ...) -> OK
-- Upgrades rows that version 1 wrote, or that a recovery has restored, to the form of this version: the
-- hash of what each requests is written into its job, and becomes a key of that job. Safe twice.
local batch, manifest = ARGV[2], ARGV[3]
for at = 4, #ARGV, 2 do
  local id, content = ARGV[at], ARGV[at + 1]
  if redis.call('HEXISTS', job_key(id), 'state') == 1 then
    redis.call('HSETNX', job_key(id), 'content', content)
    redis.call('HSETNX', job_key(id), 'manifest', manifest)
    redis.call('SET', idempotency_key('batch:' .. batch .. ':' .. content),
      id .. '|' .. content, 'NX')
  end
end
return 'OK'
