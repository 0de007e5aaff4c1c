-- Gives permits back without looking at the queue: the last resort of a release
-- that the three-key script could not do in time (a cluster slot in migration
-- answers TRYAGAIN to scripts of several keys). The next waiter finds the room at
-- its next poll.
--
-- KEYS   1 lock
-- ARGV   1 id   2 request, as it was acquired with
-- Reply  1 released   0 not held, and nobody holds the lock   2 others do
local place = ARGV[1] .. ' ' .. ARGV[2]
if not redis.call('ZSCORE', KEYS[1], place) then return 2 * redis.call('EXISTS', KEYS[1]) end
local weight = string.match(ARGV[2], '^%d+ %S+ (%d+) ')
redis.call('ZREM', KEYS[1], place, 'token ' .. ARGV[1])
redis.call('ZINCRBY', KEYS[1], weight, 'used')
if redis.call('ZCOUNT', KEYS[1], 1, '+inf') == 0 then redis.call('DEL', KEYS[1]) end -- it was the last
return 1
