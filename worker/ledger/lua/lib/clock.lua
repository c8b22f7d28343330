-- The time of the server, in milliseconds. See prelude.lua for the clock of the scripts.
local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
