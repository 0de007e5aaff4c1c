-- holdfast_guard lets a fencing token pass, and remembers it, unless a higher one
-- was let pass before. The same token passes again.
--
-- key     where the highest token is kept, one of KEYS: a string without TTL; or,
--         with field, a hash that keeps it in that field
-- token   a whole number from 1 to 2^53-1, as text (ARGV) or number
-- field   may be left out
-- Returns nil if it passes, else an error reply, to be returned by the script:
--   STALE token <token> is below <highest>
--   BADTOKEN ...    it is no such number
--   BADFENCE ...    what is kept is no token; nothing passes
-- It reads before it writes, and writes only what changes: a script that is refused
-- by it has done nothing yet.
local function holdfast_guard(key, token, field)
  local offered = tonumber(token)
  if not (offered and offered >= 1 and offered <= 9007199254740991 and offered % 1 == 0) then
    return redis.error_reply('BADTOKEN a fencing token is a whole number from 1 to 2^53-1')
  end
  local text = string.format('%.0f', offered) -- tostring would round it
  local seen
  if field then seen = redis.call('HGET', key, field) else seen = redis.call('GET', key) end
  if seen then
    if not string.match(seen, '^%d+$') then
      return redis.error_reply('BADFENCE what is kept is no token')
    end
    local highest = tonumber(seen) -- miniredis: nil if it is too long
    if not highest or offered < highest then
      return redis.error_reply('STALE token ' .. text .. ' is below ' .. seen)
    end
    if seen == text then return nil end
  end
  if field then redis.call('HSET', key, field, text) else redis.call('SET', key, text) end
  return nil
end
