-- Takes the mutex away from id.
--
-- KEYS   1 lock   2 queue   3 last token
-- ARGV   1 id   2 request, as it was acquired with
-- Reply  1 taken away   0 nothing was held under id   2 and somebody else holds it
--        + 4 more places to look at: call pump   + 8 PUBLISH was refused

-- include base
-- include mutex
-- include grant
-- Of the tokens that follow the hold's any may be in use (joined.lua), also if none
-- was reserved yet: one that was given by force is ahead of the clock.
if token then
  known = math.max(token + 10000, tonumber(redis.call('GET', last) or 0))
  spent = true
end
-- include evict
