-- row_records(count, name, ..., member, ...) -> {{line, value, ...}, ...}
-- Fields of the jobs of rows, without their whole records. Rows are given by their members of a
-- batch's set, <job> or <job>#<line>. For each: the payload of its line, if it has one, and the fields
-- of these names, of which there are <count>; nothing if its key holds something else than a record.
-- Reads only.
local first_member = 3 + tonumber(ARGV[2])
local names = {''}
for at = 3, first_member - 1 do names[#names + 1] = ARGV[at] end
local out = {}
for at = first_member, #ARGV do
  local id, line = string.match(ARGV[at], '^([^#]*)#?(.*)$')
  names[1] = 'line:' .. line
  local values = redis.pcall('HMGET', job_key(id), unpack(names))
  out[#out + 1] = values.err and {} or values
end
return out
