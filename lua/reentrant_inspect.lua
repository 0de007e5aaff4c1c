-- Says who holds the reentrant lock and who waits for it.
--
-- KEYS   1 lock   2 queue   3 last token   4 shares
-- ARGV   1 how many shares, and waiters, to list at the most
-- Reply  {last token, count of the hold, rows of the hold, waiters,
--         {{"<id> <request>", ms left, token, 1}, ...}, the share that ends first
--         being first; or {{Redisson's owner, ms left, 0, its count}},
--         {{"<id> <request>", µs since it came, ms that it counts as alive}, ...}}
local channel = ''

-- include base
-- include reentrant
-- include inspect
if foreign then
  local times = tonumber(redis.call('HGET', lock, owner))
  return inspection(times, 1, { { owner, redis.call('PTTL', lock), 0, times } })
end
local rows = {}
if owner then
  local list = redis.call('ZRANGE', shares, '(' .. text(ms), '+inf', 'BYSCORE', 'LIMIT', 0, tonumber(ARGV[1]), 'WITHSCORES')
  for i = 1, #list, 2 do table.insert(rows, { list[i], list[i + 1] - ms, token, 1 }) end
end
return inspection(live, live, rows)
