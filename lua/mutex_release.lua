-- Ends id: gives its lock back, or its place in the queue, or both, and hands a
-- free lock to the next live waiter in the same step.
--
-- KEYS   1 lock   2 queue   3 last token
-- ARGV   1 id   2 request, as it was enqueued; "" if id never waited
--        3 ms that a tombstone for id stays; 0 for none
--        4 ms that the lock still stays taken (minimum hold); 0 for none
-- Reply  0 nothing was held under id, nobody holds the lock
--        1 released      2 nothing was held under id, somebody else holds it
--        + 4 more places to look at: call pump   + 8 PUBLISH was refused
local id, request = ARGV[1], ARGV[2]
local value = redis.call('GET', KEYS[1])
local mine = value and string.sub(value, 1, #id + 1) == id .. ' '
if mine and ARGV[3] == '0' and ARGV[4] == '0' and redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('DEL', KEYS[1]) -- nobody waits
  return 1
end

-- include queue

local function first_place()
  return redis.call('ZRANGE', queue, 1, '+inf', 'BYSCORE', 'LIMIT', 0, 1)[1]
end

-- look_again tells the waiter in a place, if there is one, to poll.
local function look_again(place)
  if not place then return 0 end
  local waiter, inbox = string.match(place, '^(%S+) %d+ (%S+)')
  return wake(inbox, waiter, 0)
end

local now = micros()
local head = first_place()
local known = token_of(value) or tonumber(redis.call('GET', last) or 0)
local expires = redis.call('PTTL', queue)
local state, flags = value and 2 or 0, 0

-- First write, and allowed when out of memory even if there is no such member.
-- Before grant reads the queue, so that a leaver is not granted.
redis.call('ZREM', queue, id .. ' ' .. request, 'live ' .. id)
if ARGV[3] ~= '0' then
  local ms = math.floor(now / 1000)
  redis.call('ZADD', queue, text(-(ms + tonumber(ARGV[3]))), 'gone ' .. id)
  -- Set in any case: the ZREM may have emptied the queue, and its TTL with it.
  redis.call('PEXPIRE', queue, text(math.max(expires, tonumber(ARGV[3]))))
  reap(ms)
end

if mine then
  state = 1
  if ARGV[4] ~= '0' then
    -- Nobody owns it now: "-" is no id, so a late renewal cannot stretch it.
    -- The head is told to look again, since it waits for the longer lease.
    redis.call('SET', lock, '-' .. string.sub(value, #id + 1), 'PX', ARGV[4])
    return state + look_again(head)
  end
end
if mine or not value then
  local holder, token
  holder, token, flags = grant(now, known, id)
  if mine and not holder then redis.call('DEL', lock) end
elseif head == id .. ' ' .. request then
  -- The next in line left: the one behind it must know when the lease ends.
  flags = look_again(first_place())
end
return state + flags
