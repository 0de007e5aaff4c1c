-- Says who holds permits and who waits for them.
--
-- KEYS   1 lock   2 queue   3 last token
-- ARGV   1 how many holders, and waiters, to list at the most
-- Reply  {last token, weight of all holds, holders, waiters,
--         {{"<id> <request>", ms left, token, weight}, ...}, the one that ends first
--         being first,
--         {{"<id> <request>", µs since it came, ms that it counts as alive}, ...}}

-- include base
-- include weighted
-- include inspect
local rows = {}
local list = redis.call('ZRANGE', lock, '(' .. text(ms), '+inf', 'BYSCORE', 'LIMIT', 0, tonumber(ARGV[1]), 'WITHSCORES')
for i = 1, #list, 2 do
  local id, request = string.match(list[i], '^(%S+) (.*)$')
  local mark = redis.call('ZSCORE', lock, 'token ' .. id) -- none: kept by a minimum hold
  table.insert(rows, { list[i], list[i + 1] - ms, mark and -mark or 0, (weight_of(request)) })
end
return inspection(used, redis.call('ZCOUNT', lock, '(' .. text(ms), '+inf'), rows)
