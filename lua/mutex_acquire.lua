-- Takes the mutex or a place in its queue ("lock"), takes it or says who has it
-- ("try"), or asks how a place stands ("poll"). Only the first acquire of an id
-- may take or enqueue; a poll never does, so a poll that arrives late, after its
-- waiter left, finds nothing to do.
--
-- KEYS   1 lock   2 queue   3 last token
-- ARGV   1 id   2 request "<lease ms> <inbox> <holder>"   3 lease ms
--        4 "lock" | "try" | "poll"   5 ms that the waiter counts as alive
-- Reply  token (> 0)   yours: the lease starts anew with this call
--        0             no place: left, or skipped as dead
--        {last token, ms left of the holder (-1 without end, -2 nobody),
--         places before this one, places in all, flags, 1 if the holder is ours,
--         the lock's value}
if ARGV[4] ~= 'poll' and redis.call('EXISTS', KEYS[1], KEYS[2]) == 0 then
  -- Free and nobody waits. SET .. GET writes the token and reads the one before.
  -- Written out rather than shared: this is the path that most calls take.
  local t = redis.call('TIME')
  local token = t[1] * 1000000 + t[2]
  local digits = string.format('%.0f', token)
  local before = redis.call('SET', KEYS[3], digits, 'PX', 600000, 'GET')
  if before and tonumber(before) >= token then
    token = tonumber(before) + 1
    digits = string.format('%.0f', token)
    redis.call('SET', KEYS[3], digits, 'PX', 600000)
  end
  redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. digits .. ' ' .. ARGV[2], 'PX', ARGV[3])
  return token
end

-- include queue

local id, request, lease, mode = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local place = id .. ' ' .. request
local value = redis.call('GET', lock)
if holds(value, id) then
  -- A repeated call, or the poll of a waiter that was granted: its lease is
  -- counted from this call, so it must start with this call.
  redis.call('PEXPIRE', lock, lease)
  return token_of(value)
end

local now = micros()
local marks = redis.call('ZMSCORE', queue, 'gone ' .. id, place)
local known = token_of(value) or tonumber(redis.call('GET', last) or 0)
local ahead = redis.call('ZCOUNT', queue, 1, marks[2] and '(' .. marks[2] or '+inf')
local places = redis.call('ZCOUNT', queue, 1, '+inf')
local left = redis.call('PTTL', lock)

if marks[1] or mode == 'poll' and not marks[2] then
  if not value then grant(now, known, id) end -- what it leaves to do, the next acquire does
  return 0
end

if mode ~= 'try' then
  local alive = text(-(math.floor(now / 1000) + tonumber(ARGV[5])))
  local keep = tonumber(ARGV[5]) + 60000
  if marks[2] then
    -- PEXPIRE comes first: it is allowed when Redis is out of memory, and lets
    -- the ZADD behind it be.
    redis.call('PEXPIRE', queue, keep, 'GT')
    redis.call('ZADD', queue, alive, 'live ' .. id)
  else
    local tail = redis.call('ZRANGE', queue, '+inf', 1, 'BYSCORE', 'REV', 'LIMIT', 0, 1, 'WITHSCORES')
    local expires = redis.call('PTTL', queue)
    local score = math.max(now, tonumber(tail[2] or 0) + 1)
    redis.call('ZADD', queue, text(score), place, alive, 'live ' .. id)
    if expires < keep then redis.call('PEXPIRE', queue, keep) end
    if score % 64 == 0 then reap(math.floor(now / 1000)) end -- now and then
    places = places + 1
  end
end

local flags = 0
if not value then
  local holder, token
  holder, token, flags = grant(now, known, id)
  if holder == id then return token end
  if not holder and flags == 0 and mode == 'try' then
    return take(id, request, lease, now, known) -- only dead places were in the way
  end
  known = math.max(known, token)
  value, left = redis.call('GET', lock), redis.call('PTTL', lock)
  places = redis.call('ZCOUNT', queue, 1, '+inf')
  local score = redis.call('ZSCORE', queue, place)
  ahead = redis.call('ZCOUNT', queue, 1, score and '(' .. score or '+inf')
end
return { known, left, ahead, places, flags, token_of(value) and 1 or 0, value }
