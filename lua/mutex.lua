-- The mutex: one holder.
--
-- lock    string "<id> <token> <request>" with PX lease, or whatever another
--         library wrote there; an id of "-" means: released, but kept taken
--         until its minimum hold time is over
-- A request is "<lease ms> <inbox> <holder>".
local value = redis.call('GET', lock)
local token = value and tonumber(string.match(value, '^%S+ (%d+) %d+ %S+ ') or nil) -- nil: not ours
local vacant = false
local spent = false -- known is to be remembered, although nobody is admitted

known = token or tonumber(redis.call('GET', last) or 0)
taken, full = value and true, value and true

local function mine(id) return token and string.sub(value, 1, #id + 1) == id .. ' ' and token or nil end

local function claim()
  if full then return false end
  full = true
  return true
end

local function admit(id, request)
  token = next_token()
  value = id .. ' ' .. text(token) .. ' ' .. request
  redis.call('SET', lock, value, 'PX', string.match(request, '^%d+'))
  return token
end

local function extend(_, _, lease) redis.call('PEXPIRE', lock, lease) end

-- vacate leaves the key to whoever is admitted next, and to settle if nobody is.
local function vacate() value, token, full, vacant = false, nil, false, true end

-- rest leaves a value of nobody's id, so that a late renewal cannot stretch it.
local function rest(id, _, least) redis.call('SET', lock, '-' .. string.sub(value, #id + 1), 'PX', least) end

local function settle()
  if vacant and not value then
    redis.call('DEL', lock)
    if spent then redis.call('SET', last, text(known), 'PX', 600000) end
  end
end

local function blocker()
  if not value then return -2, 0, '' end
  local holder = token and string.match(value, '^%S+ %d+ %d+ %S+ (.*)$')
  return redis.call('PTTL', lock), token and 1 or 0, holder or ''
end
