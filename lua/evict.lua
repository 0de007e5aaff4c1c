-- Shared by the scripts that take a hold away: ends what id holds, tells its
-- client so, and grants what there is room for then in the same step. The
-- wake-up has the hold's token with a minus, so that no grant can be mistaken for
-- it, nor a later hold be meant.
local id, request = ARGV[1], ARGV[2]
local held = mine(id, request)
if not held then return (taken and 2 or 0) + flags end
tell(string.match(request, '^%d+ (%S+)'), id, -held)
redis.call('ZREM', queue, 'live ' .. id) -- first: it is allowed when out of memory
vacate(id, request)
grant(id)
return 1 + flags
