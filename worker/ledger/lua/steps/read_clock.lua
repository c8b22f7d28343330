-- read_clock() -> {time of the server, offset, last tick}, in ms
return {server_time, clock_offset, number(meta.last_tick)}
