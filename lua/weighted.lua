-- The weighted lock, which is the semaphore and the read-write lock: holders
-- that each have a weight and an end of their own. A permit is a weight of n
-- under a limit; a reader 1 of ALL; a writer ALL of ALL.
--
-- lock    zset, so that a renewal needs this one key; PX until its last hold ends
--           score > 0   "<id> <request>": a hold, which ends at score by the
--                       server's clock, in ms; an id of "-<id>": released, but
--                       its room kept taken until its minimum hold time is over
--           score <= 0  "token <id>": -score is the hold's fencing token
--                       "used": -score is the weight of all holds in the set
-- A request is "<lease ms> <inbox> <weight> <limit> <holder>". Each is judged by
-- its own limit: nothing that is stored depends on one.
local ALL = 1000000000

-- whole reads a score that may have come as "1e+9": Lua does, miniredis's does not.
local function whole(score)
  local digits, zeros = string.match(score, '^(.-)e%+(%d+)$')
  return digits and math.floor(tonumber(digits) * 10 ^ tonumber(zeros) + 0.5) or tonumber(score)
end

local used = -whole(redis.call('ZSCORE', lock, 'used') or '0')
local ended = redis.call('ZRANGE', lock, 1, text(ms), 'BYSCORE', 'LIMIT', 0, BOUND)
local longest, changed = 0, #ended > 0

local function weight_of(request)
  local weight, limit = string.match(request, '^%d+ %S+ (%d+) (%d+) ')
  return tonumber(weight), tonumber(limit)
end

-- What has ended gives its room back here, and leaves the set in bury.
for _, hold in ipairs(ended) do
  used = used - weight_of(string.match(hold, '^%S+ (.*)$'))
end
if #ended == BOUND then flags = MORE end

-- The last token may be forgotten while its hold is renewed: the highest of the
-- holds is the lowest score.
known = tonumber(redis.call('GET', last) or -whole(redis.call('ZRANGE', lock, 0, 0, 'WITHSCORES')[2] or '0'))
taken, full = used > 0, used >= ALL

local function mine(id, request)
  local ends = redis.call('ZSCORE', lock, id .. ' ' .. request)
  return ends and tonumber(ends) > ms and -tonumber(redis.call('ZSCORE', lock, 'token ' .. id)) or nil
end

local function claim(request)
  local weight, limit = weight_of(request)
  if used + weight > limit then return false end
  used = used + weight
  full = used >= ALL
  return true
end

-- bury takes what has ended out of the set. Before a hold is written: it may be
-- one that has ended, which comes again, and must not be taken out then.
local function bury()
  if #ended == 0 then return end
  local members = {}
  for _, hold in ipairs(ended) do
    table.insert(members, hold)
    table.insert(members, 'token ' .. string.match(hold, '^%S+'))
  end
  redis.call('ZREM', lock, unpack(members))
  ended = {}
end

local function admit(id, request)
  local lease = tonumber(string.match(request, '^%d+'))
  local token = next_token() -- first: it is refused when out of memory
  bury()
  redis.call('ZADD', lock, text(ms + lease), id .. ' ' .. request, text(-token), 'token ' .. id)
  longest, changed = math.max(longest, lease), true
  return token
end

local function extend(id, request, lease)
  redis.call('PEXPIRE', lock, lease, 'GT') -- first: it is allowed when out of memory
  redis.call('ZADD', lock, 'XX', 'GT', text(ms + lease), id .. ' ' .. request)
end

local function vacate(id, request)
  redis.call('ZREM', lock, id .. ' ' .. request, 'token ' .. id)
  used = used - weight_of(request)
  full, changed = used >= ALL, true
end

local function rest(id, request, least)
  redis.call('ZREM', lock, id .. ' ' .. request, 'token ' .. id)
  redis.call('ZADD', lock, text(ms + least), '-' .. id .. ' ' .. request)
  longest, changed = math.max(longest, tonumber(least)), true
end

local function settle()
  if not changed then return end
  if used == 0 then
    redis.call('DEL', lock)
    return
  end
  bury()
  redis.call('ZADD', lock, text(-used), 'used')
  if redis.call('PTTL', lock) < longest then redis.call('PEXPIRE', lock, longest) end
end

local function blocker(request)
  local weight, limit = weight_of(request)
  local first = redis.call('ZRANGE', lock, '(' .. text(ms), '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
  if used + weight <= limit or not first[1] then return -2, 0, '' end -- only the queue is in the way
  return tonumber(first[2]) - ms, 1, string.match(first[1], '^%S+ %d+ %S+ %d+ %d+ (.*)$')
end
