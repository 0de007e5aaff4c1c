-- Gives the lock back without looking at the queue: the last resort of a release
-- that the four-key script could not do in time (a cluster slot in migration
-- answers TRYAGAIN to scripts of several keys). Only where this is the owner's
-- one share, which the caller knows to be its own since its lease has not ended.
-- The next waiter finds the lock free at its next poll.
--
-- KEYS   1 lock
-- ARGV   1 id   2 request, as it was acquired with
-- Reply  1 released   0 not done, and nobody else holds the lock   2 others do
local size, rest = string.match(ARGV[2], '^%d+ %S+ (%d+) (.*)$')
local count = redis.call('HGET', KEYS[1], string.sub(rest, 1, tonumber(size)))
if not count then return 2 * redis.call('EXISTS', KEYS[1]) end
if count ~= '1' then return 0 end
redis.call('DEL', KEYS[1])
return 1
