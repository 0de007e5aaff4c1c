-- Extends a hold that has not ended. It never makes one, and it declares one
-- key only, so that it also works while a cluster slot migrates.
--
-- KEYS   1 lock
-- ARGV   1 id   2 lease ms   3 request, as it was acquired with
-- Reply  1 renewed   0 it has ended, and nobody holds the lock   2 others do
local place = ARGV[1] .. ' ' .. ARGV[3]
local ends = redis.call('ZSCORE', KEYS[1], place)
local t = redis.call('TIME')
local ms = t[1] * 1000 + math.floor(t[2] / 1000)
if not ends or tonumber(ends) <= ms then return 2 * redis.call('EXISTS', KEYS[1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2], 'GT') -- first: it is allowed when out of memory
redis.call('ZADD', KEYS[1], 'XX', 'GT', string.format('%.0f', ms + ARGV[2]), place)
return 1
