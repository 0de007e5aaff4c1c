-- Says who holds the mutex and who waits for it.
--
-- KEYS   1 lock   2 queue   3 last token
-- ARGV   1 how many waiters to list at the most
-- Reply  {last token, 1 if it is held, holders, waiters,
--         {{"<id> <request>" or another library's value, ms left (-1 without
--           end), token (0: another library's), 1}},
--         {{"<id> <request>", µs since it came, ms that it counts as alive}, ...}}

-- include base
-- include mutex
-- include inspect
if not value then return inspection(0, 0, {}) end
local row = { value, redis.call('PTTL', lock), token or 0, 1 }
if token then row[1] = string.gsub(value, '^(%S+) %d+', '%1') end
return inspection(1, 1, { row })
