-- Shared by the mutex scripts: what is stored, and the one loop that grants.
--
-- lock    string "<id> <token> <lease ms> <inbox> <holder>" with PX lease, or
--         whatever another library wrote there; an id of "-" means: released,
--         but kept taken until its minimum hold time is over
-- queue   zset, two kinds of members told apart by the sign of the score:
--           score > 0   "<id> <lease ms> <inbox> <holder>": a place; places are
--                       in order of arrival
--           score < 0   ends at -score by the server's clock, in ms:
--                       "live <id>"  the waiter is alive until then
--                       "gone <id>"  a tombstone: this id was left while its
--                                    first acquire was still unanswered; a late
--                                    copy of that acquire must not take the lock
-- last    string: the last token given, PX ten minutes
local lock, queue, last = KEYS[1], KEYS[2], KEYS[3]
local MORE, MUTED = 4, 8 -- reply flags: places left to look at; PUBLISH refused

local function text(number) return string.format('%.0f', number) end

-- micros is the server's clock. Called once per script: it moves within one.
local function micros()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end

local function holds(value, id)
  return value and string.sub(value, 1, #id + 1) == id .. ' '
end

-- token_of is the fencing token in a lock's value; nil if the value is not ours.
local function token_of(value)
  local token = value and string.match(value, '^%S+ (%d+) %d+ %S+ ')
  return token and tonumber(token)
end

-- take makes id the holder. known is the highest token known to be given.
local function take(id, request, lease, now, known)
  local token = math.max(now, known + 1)
  redis.call('SET', last, text(token), 'PX', 600000)
  redis.call('SET', lock, id .. ' ' .. text(token) .. ' ' .. request, 'PX', lease)
  return token
end

-- wake tells an inbox that id has the lock with that token; token 0 means only
-- "poll again". By pcall: without the right to publish the grant still stands,
-- and its waiter finds it at its next poll.
local function wake(inbox, id, token)
  local sent = redis.pcall('PUBLISH', inbox, id .. ' ' .. text(token) .. ' 0')
  return type(sent) == 'table' and sent.err and MUTED or 0
end

-- first_alive reads the queue up to its first live waiter, at most 128 places,
-- and changes nothing: what a script decides by is read before it writes. One
-- read finds a live head; only behind a dead one is more read.
local function first_alive(ms)
  local passed = {}
  for _, batch in ipairs({ 1, 127 }) do
    local places = redis.call('ZRANGE', queue, 1, '+inf', 'BYSCORE', 'LIMIT', #passed / 2, batch)
    for _, place in ipairs(places) do
      local id = string.match(place, '^%S+')
      local live = redis.call('ZSCORE', queue, 'live ' .. id)
      table.insert(passed, place)
      table.insert(passed, 'live ' .. id)
      if live and -tonumber(live) > ms then return passed, id, place, 0 end
    end
    if #places < batch then return passed, nil, nil, 0 end
  end
  return passed, nil, nil, MORE
end

-- reap removes marks that are over, a bounded number of them.
local function reap(ms)
  local ended = redis.call('ZRANGE', queue, text(-ms), '(0', 'BYSCORE', 'LIMIT', 0, 128)
  if #ended > 0 then redis.call('ZREM', queue, unpack(ended)) end
end

-- grant hands the free lock to the first live waiter, whoever it is, and wakes
-- it unless it is the caller. Returns that id (nil if there is none), its token
-- and the flags.
local function grant(now, known, caller)
  local passed, id, place, flags = first_alive(math.floor(now / 1000))
  -- First write: ZREM is allowed when Redis is out of memory, and so is then
  -- the rest of the script.
  if #passed > 0 then redis.call('ZREM', queue, unpack(passed)) end
  if not id then return nil, 0, flags end
  local request = string.sub(place, #id + 2)
  local lease, inbox = string.match(request, '^(%d+) (%S+)')
  local token = take(id, request, lease, now, known)
  if id ~= caller then flags = flags + wake(inbox, id, token) end
  return id, token, flags
end
