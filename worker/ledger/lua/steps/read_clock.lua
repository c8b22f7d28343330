-- read_clock() -> {time of the server, offset, last tick}, in ms
local last_tick = redis.pcall('HGET', META, 'last_tick')
return {now - clock_offset(), clock_offset(), type(last_tick) == 'string' and number(last_tick) or 0}
