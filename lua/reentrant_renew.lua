-- Extends one share, if it has not ended, and the lock with it. It never makes
-- either. Shares of others that have ended are counted out, so that one process
-- does not keep alive what a dead one of the same owner held.
--
-- KEYS   1 lock   2 shares
-- ARGV   1 id   2 lease ms   3 request, as it was acquired with
-- Reply  1 renewed   0 the share has ended   2 and somebody else holds the lock
local place = ARGV[1] .. ' ' .. ARGV[3]
local size, rest = string.match(ARGV[3], '^%d+ %S+ (%d+) (.*)$')
local owner = string.sub(rest, 1, tonumber(size))
if redis.call('HEXISTS', KEYS[1], owner) == 0 then return 2 * redis.call('EXISTS', KEYS[1]) end
local ends = redis.call('ZSCORE', KEYS[2], place)
local t = redis.call('TIME')
local ms = t[1] * 1000 + math.floor(t[2] / 1000)
if not ends or tonumber(ends) <= ms then return 0 end
local ended = redis.call('ZRANGE', KEYS[2], 1, string.format('%.0f', ms), 'BYSCORE', 'LIMIT', 0, 128)
redis.call('PEXPIRE', KEYS[1], ARGV[2], 'GT') -- first: it is allowed when out of memory
redis.call('ZADD', KEYS[2], 'XX', 'GT', string.format('%.0f', ms + ARGV[2]), place)
redis.call('PEXPIRE', KEYS[2], ARGV[2] + 1000, 'GT')
if #ended > 0 then
  redis.call('ZREM', KEYS[2], unpack(ended))
  redis.call('HSET', KEYS[1], owner, redis.call('ZCOUNT', KEYS[2], 1, '+inf'))
end
return 1
