-- Shared by the scripts that say how a lock stands. They only read (EVALSHA_RO
-- would see to that, but miniredis refuses TIME there). What they list is bounded by ARGV[1]; the sums are of
-- all. inspection takes the holders: a row each of "<id> <request>" or what
-- another library wrote, ms left (-1 without end), token (0: another library's),
-- weight.
local function inspection(used, count, holders)
  local waiters = {}
  local places = redis.call('ZRANGE', queue, 1, '+inf', 'BYSCORE', 'LIMIT', 0, tonumber(ARGV[1]), 'WITHSCORES')
  for i = 1, #places, 2 do
    local live = redis.call('ZSCORE', queue, 'live ' .. string.match(places[i], '^%S+'))
    table.insert(waiters, { places[i], math.max(0, now - places[i + 1]), live and math.max(0, -live - ms) or 0 })
  end
  return { known, used, count, redis.call('ZCOUNT', queue, 1, '+inf'), holders, waiters }
end
