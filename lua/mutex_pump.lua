-- Grants a free lock when an earlier script stopped at its bound of 128 places.
--
-- KEYS   1 lock   2 queue   3 last token
-- ARGV   none
-- Reply  0, + 4 more places to look at: call again, + 8 PUBLISH was refused

-- include queue

if redis.call('EXISTS', lock) == 1 then return 0 end
local now = micros()
local _, _, flags = grant(now, tonumber(redis.call('GET', last) or 0), '')
return flags
