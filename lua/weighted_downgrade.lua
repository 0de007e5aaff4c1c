-- Makes a lighter hold of a heavier one under the same id and token, with no
-- instant between them, and grants the room that this leaves. Sent twice, it
-- answers the same.
--
-- KEYS   1 lock   2 queue   3 last token
-- ARGV   1 id   2 request, as it was acquired with   3 lease ms
--        4 request of the lighter hold
--        5 ms that a tombstone for id stays; 0 for none: a late copy of its
--        acquire would not know the lighter hold, and queue for the heavier
-- Reply  token (> 0)   held as lighter: its lease starts with this call
--        0             nothing is held under id

-- include base
-- include weighted
-- include grant
local id, heavy, lease, light = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local held = mine(id, light)
if held then
  extend(id, light, lease)
  return held
end
held = mine(id, heavy)
if not held then return 0 end
vacate(id, heavy)
used = used + weight_of(light)
full = used >= ALL
bury()
redis.call('ZADD', lock, text(ms + lease), id .. ' ' .. light, text(-held), 'token ' .. id)
longest = math.max(longest, tonumber(lease))
if ARGV[5] ~= '0' then bar(id, ARGV[5], redis.call('PTTL', queue)) end
settle()
grant('')
return held
