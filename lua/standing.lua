-- Shared by what answers an acquire: how it stands with one who was not served.
-- score is that of its place; nil: it has none.
local function standing(request, score)
  local left, ours, holder = blocker(request)
  local ahead = redis.call('ZCOUNT', queue, 1, score and '(' .. score or '+inf')
  return { known, left, ahead, redis.call('ZCOUNT', queue, 1, '+inf'), flags, ours, holder }
end
