-- Extends a lease that is still held by id. It never creates the key, and it
-- declares one key only, so that it also works while a cluster slot migrates.
--
-- KEYS   1 lock
-- ARGV   1 id   2 lease ms
-- Reply  1 renewed   0 nobody holds the lock   2 somebody else does
local value = redis.call('GET', KEYS[1])
if not value then return 0 end
if string.sub(value, 1, #ARGV[1] + 1) ~= ARGV[1] .. ' ' then return 2 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
