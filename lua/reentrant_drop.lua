-- Gives a share back without looking at the queue: the last resort of a release
-- that the four-key script could not do in time (a cluster slot in migration
-- answers TRYAGAIN to scripts of several keys if it has only some of them, and
-- these two come and go together). The next waiter finds the lock free at its
-- next poll.
--
-- KEYS   1 lock   2 shares
-- ARGV   1 id   2 request, as it was acquired with
-- Reply  1 released   0 it is not held   2 and somebody else holds the lock
local size, rest = string.match(ARGV[2], '^%d+ %S+ (%d+) (.*)$')
local owner = string.sub(rest, 1, tonumber(size))
if redis.call('HEXISTS', KEYS[1], owner) == 0 then return 2 * redis.call('EXISTS', KEYS[1]) end
if redis.call('ZREM', KEYS[2], ARGV[1] .. ' ' .. ARGV[2]) == 0 then return 0 end
local left = redis.call('ZCOUNT', KEYS[2], 1, '+inf')
if left == 0 then
  redis.call('DEL', KEYS[1], KEYS[2])
else
  redis.call('HSET', KEYS[1], owner, left)
end
return 1
