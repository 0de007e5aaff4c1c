-- Runs commands if the token passes the fence.
--
-- KEYS   1 the fence   2... the keys of the commands
-- ARGV   1 token   2 the fence's field, '' if it has none
--        3... each command: how many words it has, then the words
-- Reply  the commands' replies, to the first that failed, whose error comes last;
--        the error of holdfast_guard if the token was refused: no command ran
local refused = holdfast_guard(KEYS[1], ARGV[1], ARGV[2] ~= '' and ARGV[2] or nil)
if refused then return refused end
local replies = {}
local at = 3
while at <= #ARGV do
  local words = tonumber(ARGV[at])
  local reply = redis.pcall(unpack(ARGV, at + 1, at + words))
  table.insert(replies, reply)
  if type(reply) == 'table' and reply.err then break end
  at = at + words + 1
end
return replies
