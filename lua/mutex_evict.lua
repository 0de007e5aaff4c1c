-- Takes the mutex away from id.
--
-- KEYS   1 lock   2 queue   3 last token
-- ARGV   1 id   2 request, as it was acquired with
-- Reply  1 taken away   0 nothing was held under id   2 and somebody else holds it
--        + 4 more places to look at: call pump   + 8 PUBLISH was refused

-- include base
-- include mutex
-- include grant
known = math.max(known, tonumber(redis.call('GET', last) or 0)) -- of those reserved, any may be used
-- include evict
