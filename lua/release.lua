-- Ends id: gives back what it holds, or its place in the queue, or both, and
-- grants what there is room for then to the next live waiters in the same step.
local id, request = ARGV[1], ARGV[2]
local place = id .. ' ' .. request
local held = mine(id, request)
local head = first_place()
local expires = redis.call('PTTL', queue)

-- First write, and allowed when out of memory even if there is no such member.
-- Before grant reads the queue, so that a leaver is not granted.
redis.call('ZREM', queue, place, 'live ' .. id)
if ARGV[3] ~= '0' then bar(id, ARGV[3], expires) end

if held and ARGV[4] ~= '0' then
  -- The head is told to look again, since it waits for the longer lease.
  rest(id, request, ARGV[4])
  settle()
  look_again(head)
  deliver()
  return 1 + flags
end
if held then vacate(id, request) end
local before = known
grant(id)
if not held and head == place and known == before then
  -- The next in line left: the one behind it must know when the lease ends.
  look_again(first_place())
  deliver()
end
return (held and 1 or taken and 2 or 0) + flags
