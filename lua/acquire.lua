-- Takes the lock or a place in its queue ("lock"), takes it or says who has it
-- ("try"), or asks how a place stands ("poll"). Only the first acquire of an id
-- may take or enqueue; a poll never does, so a poll that arrives late, after its
-- waiter left, finds nothing to do.
local id, request, lease, mode = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local place = id .. ' ' .. request

-- enter makes the caller a holder for whom there is room.
local function enter()
  local given = admit(id, request)
  settle()
  deliver()
  return given
end

local held = mine(id, request)
if held then
  -- A repeated call, or the poll of a waiter that was granted: its lease is
  -- counted from this call, so it must start with this call.
  extend(id, request, lease)
  return held
end
if mode ~= 'poll' and not full and redis.call('EXISTS', queue) == 0 and claim(request) then
  return enter() -- nobody waits, and nothing was buried
end

local marks = redis.call('ZMSCORE', queue, 'gone ' .. id, place)
if marks[1] or mode == 'poll' and not marks[2] then
  grant(id) -- what it leaves to do, the next acquire does
  return 0
end
if joins and joins(request) then
  if marks[2] then redis.call('ZREM', queue, place, 'live ' .. id) end
  return enter()
end

if mode ~= 'try' then
  local alive = text(-(ms + tonumber(ARGV[5])))
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
    if score % 64 == 0 then reap() end -- now and then
    marks[2] = text(score)
    if placed and token then
      local inbox = string.match(value, '^%S+ %d+ %d+ (%S+)')
      flags = flags + placed(value, text(token), inbox, redis.call('ZCOUNT', queue, 1, '+inf') - 1)
    end
  end
end

local got, empty = grant(id)
if got then return got end
if mode == 'try' and empty and claim(request) then
  return enter() -- only dead places were in the way
end
return standing(request, marks[2])
