-- Extends a hold that has not ended. It never makes one, and it declares one
-- key only, so that it also works while a cluster slot migrates.
--
-- KEYS   1 lock
-- ARGV   1 id   2 lease ms   3 request, as it was acquired with
-- Reply  1 renewed   0 it has ended   2 and somebody holds the lock beside whom
--        there is no room for it
local place = ARGV[1] .. ' ' .. ARGV[3]
local ends = redis.call('ZSCORE', KEYS[1], place)
local t = redis.call('TIME')
local ms = t[1] * 1000 + math.floor(t[2] / 1000)
if not ends or tonumber(ends) <= ms then
  local other = redis.call('ZRANGE', KEYS[1], '(' .. string.format('%.0f', ms), '+inf', 'BYSCORE', 'LIMIT', 0, 1)[1]
  local weight, limit = string.match(ARGV[3], '^%d+ %S+ (%d+) (%d+) ')
  local beside = other and string.match(other, '^%S+ %d+ %S+ (%d+) ')
  return beside and beside + weight > tonumber(limit) and 2 or 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[2], 'GT') -- first: it is allowed when out of memory
redis.call('ZADD', KEYS[1], 'XX', 'GT', string.format('%.0f', ms + ARGV[2]), place)
return 1
