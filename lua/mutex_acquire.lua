-- Takes the mutex, or a place in its queue, or asks how a place stands.
--
-- KEYS   1 lock   2 queue   3 last token
-- ARGV   1 id   2 request "<lease ms> <inbox> <holder>"   3 lease ms
--        4 "lock" | "try" | "poll"; "next" is "lock" by a client that holds it
--        5 ms that the waiter counts as alive
-- Reply  token (> 0)   yours: the lease starts anew with this call
--        0             no place: left, or skipped as dead
--        {last token, ms left of the holder (-1 without end, -2 nobody),
--         places before this one, places in all, flags, 1 if the holder is ours,
--         the holder's text}
local there = ARGV[4] ~= 'poll' and redis.call('EXISTS', KEYS[1], KEYS[2])
if there == 0 then
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

-- include joined

local value = there and redis.call('GET', KEYS[1])
local known, inbox, after = string.match(value or '', '^%S+ (%d+) %d+ (%S+) ()')
if known and string.sub(value, 1, #ARGV[1] + 1) ~= ARGV[1] .. ' ' then
  -- Another of ours holds it, so there is nothing to grant: who asks for the first
  -- time is told so, and gets the last place. Written out as well, since with each
  -- hand-over comes one of these.
  local t = redis.call('TIME')
  local digits = t[1] .. string.sub('000000', #t[2] + 1) .. t[2]
  local ms = t[1] * 1000 + math.floor(t[2] / 1000)
  local left = redis.call('PTTL', KEYS[1])
  local buried, later, places, expires, over = false, 0, 0, -2, {}
  if there == 2 then -- there is a queue
    buried = redis.call('ZSCORE', KEYS[2], 'gone ' .. ARGV[1])
    later = redis.call('ZCOUNT', KEYS[2], digits, '+inf') -- of before the clock stepped back
    places = redis.call('ZCOUNT', KEYS[2], '1', '+inf')
    expires = redis.call('PTTL', KEYS[2])
    if t[2] % 64 == 0 then -- now and then what reap does
      over = redis.call('ZRANGE', KEYS[2], string.format('%.0f', -ms), '(0', 'BYSCORE', 'LIMIT', '0', '128')
    end
  end
  if not buried and later == 0 then
    if ARGV[4] == 'try' then return { tonumber(known), left, places, places, 0, 1, string.sub(value, after) } end
    local alive = tonumber(ARGV[5])
    local live = string.format('%.0f', -(ms + alive))
    -- NX, and by pcall: who had a place before has it still, also when Redis is out
    -- of memory. What follows here sees to that.
    local added = redis.pcall('ZADD', KEYS[2], 'NX', digits, ARGV[1] .. ' ' .. ARGV[2], live, 'live ' .. ARGV[1])
    if added == 2 then
      if expires < alive + 60000 then redis.call('PEXPIRE', KEYS[2], alive + 60000) end
      if #over > 0 then redis.call('ZREM', KEYS[2], unpack(over)) end
      local flags = joined(value, known, inbox, places)
      return { tonumber(known), left, places, places + 1, flags, 1, string.sub(value, after) }
    end
  end
end

-- include base
-- include mutex
placed = joined
-- include grant
-- include standing
-- include acquire
