-- What a new place in a mutex's queue means to the holder, whose client may pass the
-- lock from one of its goroutines to another without a word, under the tokens that
-- follow the hold's.
--   A place of the same client, in mode "next": so many tokens are reserved. The
--   last one is that far ahead then, until the release says which was used.
--   The second place behind one of that client, which was alone until now: it hears
--   that it no longer is, by token 0. It need not ask.
local function joined(value, token, inbox, places)
  if ARGV[4] == 'next' and string.match(ARGV[2], '^%d+ (%S+)') == inbox then
    redis.call('SET', KEYS[3], string.format('%.0f', tonumber(token) + 10000), 'PX', '600000')
  end
  if places ~= 1 then return 0 end
  local first = redis.call('ZRANGE', KEYS[2], '1', '+inf', 'BYSCORE', 'LIMIT', '0', '1')[1]
  if string.match(first, '^%S+ %d+ (%S+)') ~= inbox then return 0 end
  local sent = redis.pcall('PUBLISH', inbox, string.match(value, '^%S+') .. ' 0 0')
  return type(sent) == 'table' and sent.err and 8 or 0
end
