-- The time of the server, in milliseconds. prelude.lua makes the time of the scripts from it.
local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
