-- set_clock(expected, offset) -> OK | CHANGED
-- Changes the offset of the clock of the records, unless another process has changed it. Safe
-- twice: the second run finds another offset than it expects.
require_type('hash', META)
if clock_offset ~= number(ARGV[2]) then return 'CHANGED' end
redis.call('HSET', META, 'clock_offset', ARGV[3])
return 'OK'
