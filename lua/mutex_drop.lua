-- Gives the lock back without looking at the queue: the last resort of a
-- release that the three-key script could not do in time (a cluster slot in
-- migration answers TRYAGAIN to scripts of several keys). The next waiter finds
-- the lock free at its next poll.
--
-- KEYS   1 lock
-- ARGV   1 id
-- Reply  1 released   0 nobody holds the lock   2 somebody else does
local value = redis.call('GET', KEYS[1])
if not value then return 0 end
if string.sub(value, 1, #ARGV[1] + 1) ~= ARGV[1] .. ' ' then return 2 end
redis.call('DEL', KEYS[1])
return 1
