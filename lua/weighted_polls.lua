-- Asks how many places of one client stand at once, and says that their waiters
-- are alive: what as many polls would, in one command.
--
-- KEYS   1 lock   2 queue   3 last token
-- ARGV   for each place, one after the other: id, request, lease ms, ms that the
--        waiter counts as alive
-- Reply  for each place what acquire answers to its poll

-- include base
-- include weighted
-- include grant
-- include standing
local polls, alive, longest_alive = {}, {}, 0
for i = 1, #ARGV, 4 do
  local id, request = ARGV[i], ARGV[i + 1]
  local place = redis.call('ZSCORE', queue, id .. ' ' .. request)
  local p = { id = id, request = request, lease = ARGV[i + 2], held = mine(id, request), place = place }
  if place and not p.held then
    table.insert(alive, text(-(ms + tonumber(ARGV[i + 3]))))
    table.insert(alive, 'live ' .. id)
    longest_alive = math.max(longest_alive, tonumber(ARGV[i + 3]))
  end
  table.insert(polls, p)
end

for _, p in ipairs(polls) do
  if p.held then extend(p.id, p.request, p.lease) end
end
if #alive > 0 then
  -- PEXPIRE comes first: it is allowed when Redis is out of memory.
  redis.call('PEXPIRE', queue, longest_alive + 60000, 'GT')
  redis.call('ZADD', queue, unpack(alive))
end
grant('') -- whom it serves is told by wake-up as well

local answers = {}
for _, p in ipairs(polls) do
  local token = p.held or p.place and mine(p.id, p.request)
  table.insert(answers, token or p.place and standing(p.request, p.place) or 0)
end
return answers
