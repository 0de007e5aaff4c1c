-- Shared by the scripts of every kind: the keys, the server's clock, tokens.
-- A script reads all that it decides by before it writes, so that a refusal
-- leaves nothing half done.
--
-- queue   zset, two kinds of members told apart by the sign of the score:
--           score > 0   "<id> <request>": a place; places are in order of
--                       arrival. A request is "<lease ms> <inbox> ...", the rest
--                       is the kind's: all that a grant needs
--           score < 0   ends at -score by the server's clock, in ms:
--                       "live <id>"  the waiter is alive until then
--                       "gone <id>"  a tombstone: this id was left while its
--                                    first acquire was still unanswered; a late
--                                    copy of that acquire must not take the lock
-- last    string: the last token given, PX ten minutes
--
-- What lock holds is told by the file of each kind, which comes after this one
-- and says how to read and write it:
--   mine(id, request)         the token under which id holds; nil if it does not
--   claim(request)            whether it fits beside the holders there are and
--                             those that this script claimed: writes nothing
--   admit(id, request)        makes what was claimed a holder; returns its token
--   extend(id, request, ms)   lets a hold end in ms or later
--   vacate(id, request)       ends a hold
--   rest(id, request, ms)     ends a hold, and keeps its room taken for ms
--   settle()                  writes what the holders come to; the last step
--   blocker(request)          who is in the way: ms left (-1 without end, -2
--                             nobody), 1 if it is one of ours, its holder text
-- and it may set joins(request): whether it may enter past the queue; and
-- placed(value, token, inbox, places): what there is to do for a new place behind
-- so many, while the lock has that value; it returns flags.
local lock, queue, last = KEYS[1], KEYS[2], KEYS[3]
local MORE, MUTED = 4, 8 -- reply flags: places left to look at; PUBLISH refused
local BOUND = 128 -- steps of one script

-- Read once per script: it moves within one.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2] -- µs
local ms = math.floor(now / 1000)

local known = 0 -- the highest token known to be given
local taken = false -- somebody holds the lock who excludes the request
local full = false -- nothing more fits, whatever it asks for
local flags = 0
local joins, placed

local function text(number) return string.format('%.0f', number) end

local function next_token()
  known = math.max(now, known + 1)
  redis.call('SET', last, text(known), 'PX', 600000)
  return known
end

-- publish sends to an inbox. By pcall: without the right to publish a grant
-- still stands, and its waiter finds it at its next poll.
local function publish(inbox, message)
  local sent = redis.pcall('PUBLISH', inbox, message)
  if type(sent) == 'table' and sent.err and flags < MUTED then flags = flags + MUTED end
end

local function first_place()
  return redis.call('ZRANGE', queue, 1, '+inf', 'BYSCORE', 'LIMIT', 0, 1)[1]
end

-- Wake-ups, by inbox: one message for each inbox in one script.
local inboxes, mail = {}, {}

local function tell(inbox, id, token)
  if not mail[inbox] then
    table.insert(inboxes, inbox)
    mail[inbox] = {}
  end
  table.insert(mail[inbox], id .. ' ' .. text(token))
end

-- look_again tells the waiter in a place, if there is one, to poll: token 0.
local function look_again(place)
  if not place then return end
  local waiter, inbox = string.match(place, '^(%S+) %d+ (%S+)')
  tell(inbox, waiter, 0)
end

-- deliver sends what was told. The last message says whether there is more to
-- grant; if there is and nobody was told, the next in line is told to look again,
-- since not every reply has room for that.
local function deliver()
  local more = flags % MUTED == MORE
  if more and #inboxes == 0 then look_again(first_place()) end
  for i, inbox in ipairs(inboxes) do
    local last_one = more and i == #inboxes
    publish(inbox, table.concat(mail[inbox], ' 0\n') .. (last_one and ' 1' or ' 0'))
  end
  inboxes, mail = {}, {}
end
