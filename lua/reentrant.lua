-- The reentrant lock: one owner, who may hold it several times.
--
-- lock    hash {owner: count} with PX, as Redisson's RLock keeps it: the count is
--         the number of shares. Or what Redisson wrote there
-- shares  zset, what the hash has no room for; PX a second more than the lock
--           score > 0  "<id> <request>": a share, one acquisition, which ends at
--                      score by the server's clock, in ms; an id of "-<id>":
--                      released, but kept until its minimum hold time is over
--           score < 0  "token <owner>": -score is the fencing token of the hold,
--                      which all shares have in common. Where the owner in the
--                      hash has none, the shares are not this hold's: left over
--                      from one that ended, while Redisson holds the lock
-- A request is "<lease ms> <inbox> <bytes of owner> <owner> <holder>".
local shares = KEYS[4]

local function owner_of(request)
  local size, rest = string.match(request, '^%d+ %S+ (%d+) (.*)$')
  return string.sub(rest, 1, tonumber(size)), string.sub(rest, tonumber(size) + 2)
end

local owner = redis.call('HKEYS', lock)[1]
local token = owner and tonumber(redis.call('ZSCORE', shares, 'token ' .. owner) or nil)
local ended = token and redis.call('ZRANGE', shares, 1, text(ms), 'BYSCORE', 'LIMIT', 0, BOUND) or {}
local live = token and redis.call('ZCOUNT', shares, '(' .. text(ms), '+inf') or 0
local foreign = owner and not token -- Redisson's
local was, count = owner, nil -- what the hash has: its field, and its number once this script wrote it
local changed, company = #ended > 0, false

token = token and -token
known = token or tonumber(redis.call('GET', last) or 0)
-- The hash ends with its last share, give or take the rounding of a millisecond.
if token and live == 0 then owner, token = nil, nil end
full = owner ~= nil
taken = full and owner ~= (ARGV[2] and owner_of(ARGV[2]))

local function mine(id, request)
  local ends = token and redis.call('ZSCORE', shares, id .. ' ' .. request)
  return ends and tonumber(ends) > ms and token or nil
end

function joins(request) return token and owner_of(request) == owner end

-- invite tells those near the head who wait for the owner that holds the lock
-- now: they enter by a poll, and the owner may wait for them. Who stands further
-- back enters by its own next poll: a hand-over must not cost more in a long queue.
local NEAR = 8
local function invite()
  for _, place in ipairs(redis.call('ZRANGE', queue, 1, '+inf', 'BYSCORE', 'LIMIT', 0, NEAR)) do
    if joins(string.match(place, '^%S+ (.*)$')) then look_again(place) end
  end
end

local function claim(request)
  if owner then return not foreign and owner_of(request) == owner end
  owner = owner_of(request)
  return true
end

-- bury takes the shares that have ended out of the set. Before a share is
-- written: it may be one that has ended, which comes again, and must not be
-- taken out then.
local function bury()
  if #ended > 0 then redis.call('ZREM', shares, unpack(ended)) end
  ended = {}
end

local function admit(id, request)
  local ends = text(ms + string.match(request, '^%d+'))
  count = live + 1
  redis.call('HSET', lock, owner, count) -- first: it is refused when out of memory
  if token then
    bury()
  else
    redis.call('DEL', shares)
    ended, token = {}, next_token()
    company = owner ~= id -- named or carried: others may wait for it
    redis.call('ZADD', shares, text(-token), 'token ' .. owner)
  end
  redis.call('ZADD', shares, ends, id .. ' ' .. request)
  live, changed = count, true
  return token
end

local function extend(id, request, lease)
  redis.call('PEXPIRE', lock, lease, 'GT') -- first: it is allowed when out of memory
  redis.call('ZADD', shares, 'XX', 'GT', text(ms + lease), id .. ' ' .. request)
  redis.call('PEXPIRE', shares, lease + 1000, 'GT')
end

local function vacate(id, request)
  redis.call('ZREM', shares, id .. ' ' .. request)
  live, changed = live - 1, true
  if live == 0 then owner, token, full = nil, nil, false end
end

local function rest(id, request, least)
  redis.call('ZREM', shares, id .. ' ' .. request)
  redis.call('ZADD', shares, text(ms + least), '-' .. id .. ' ' .. request)
  changed = true
end

-- settle writes the count as a number, never as a difference, so that nothing
-- sent twice can shift it.
local function settle()
  if not changed then return end
  if not owner then
    redis.call('DEL', lock, shares)
    if channel ~= '' then
      publish(channel, '0')
      redis.pcall('SPUBLISH', channel, '0') -- in a Cluster, Redisson may listen there
    end
    return
  end
  bury()
  if was and was ~= owner then redis.call('HDEL', lock, was) end
  if live ~= count then redis.call('HSET', lock, owner, live) end
  local longest = redis.call('ZRANGE', shares, -1, -1, 'WITHSCORES')[2] - ms
  redis.call('PEXPIRE', lock, longest)
  redis.call('PEXPIRE', shares, longest + 1000)
  if company then invite() end
  company = false
end

local function blocker()
  if not owner then return -2, 0, '' end
  local longest = token and redis.call('ZRANGE', shares, -1, -1)[1]
  local holder = longest and select(2, owner_of(string.match(longest, '^%S+ (.*)$')))
  return redis.call('PTTL', lock), token and 1 or 0, holder or ''
end
