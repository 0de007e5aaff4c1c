-- Takes the mutex, or a place in its queue, or asks how a place stands.
--
-- KEYS   1 lock   2 queue   3 last token
-- ARGV   1 id   2 request "<lease ms> <inbox> <holder>"   3 lease ms
--        4 "lock" | "try" | "poll"   5 ms that the waiter counts as alive
-- Reply  token (> 0)   yours: the lease starts anew with this call
--        0             no place: left, or skipped as dead
--        {last token, ms left of the holder (-1 without end, -2 nobody),
--         places before this one, places in all, flags, 1 if the holder is ours,
--         the holder's text}
if ARGV[4] ~= 'poll' and redis.call('EXISTS', KEYS[1], KEYS[2]) == 0 then
  -- Free and nobody waits. SET .. GET writes the token and reads the one before.
  -- Written out rather than shared: this is the path that most calls take.
  -- The digits are put together as text, and numbers given to Redis as text: each
  -- number that is written out costs as much as a call.
  local t = redis.call('TIME')
  local digits = t[1] .. string.sub('000000', #t[2] + 1) .. t[2]
  local token = tonumber(digits)
  local before = redis.call('SET', KEYS[3], digits, 'PX', '600000', 'GET')
  if before and tonumber(before) >= token then
    token = tonumber(before) + 1
    digits = string.format('%.0f', token)
    redis.call('SET', KEYS[3], digits, 'PX', '600000')
  end
  redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. digits .. ' ' .. ARGV[2], 'PX', ARGV[3])
  return token
end

-- include base
-- include mutex
-- include grant
-- include standing
-- include acquire
