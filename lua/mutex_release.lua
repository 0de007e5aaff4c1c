-- Ends id: gives its mutex back, or its place in the queue, or both, and hands a
-- free mutex to the next live waiter in the same step.
--
-- KEYS   1 lock   2 queue   3 last token
-- ARGV   1 id   2 request, as it was acquired with
--        3 ms that a tombstone for id stays; 0 for none
--        4 ms that the lock still stays taken (minimum hold); 0 for none
--        5 the last token used, if more than that of the hold were reserved; else 0
-- Reply  0 nothing was held under id, nobody holds the lock
--        1 released      2 nothing was held under id, somebody else holds it
--        + 4 more places to look at: call pump   + 8 PUBLISH was refused
if ARGV[3] == '0' and ARGV[4] == '0' then
  -- It is held under id: nobody waits, or the next in line is alive. Written out
  -- rather than shared: these are the paths that most calls take.
  local value = redis.call('GET', KEYS[1])
  if value and string.sub(value, 1, #ARGV[1] + 1) == ARGV[1] .. ' ' then
    if redis.call('EXISTS', KEYS[2]) == 0 then
      redis.call('DEL', KEYS[1])
      if ARGV[5] ~= '0' then redis.call('SET', KEYS[3], ARGV[5], 'PX', '600000') end
      return 1
    end
    local head = redis.call('ZRANGE', KEYS[2], '1', '+inf', 'BYSCORE', 'LIMIT', '0', '1')[1]
    local known = tonumber(string.match(value, '^(%d+) ', #ARGV[1] + 2))
    if head and known and head ~= ARGV[1] .. ' ' .. ARGV[2] then
      local id, lease, inbox = string.match(head, '^(%S+) (%d+) (%S+)')
      local live = redis.call('ZSCORE', KEYS[2], 'live ' .. id)
      local t = redis.call('TIME')
      local now = t[1] * 1000000 + t[2]
      if live and -tonumber(live) > math.floor(now / 1000) then
        local digits = t[1] .. string.sub('000000', #t[2] + 1) .. t[2]
        if ARGV[5] ~= '0' then known = tonumber(ARGV[5]) end
        if known >= now then digits = string.format('%.0f', known + 1) end
        -- First write, for the same reason as in grant.
        redis.call('ZREM', KEYS[2], head, 'live ' .. id, ARGV[1] .. ' ' .. ARGV[2], 'live ' .. ARGV[1])
        redis.call('SET', KEYS[3], digits, 'PX', '600000')
        redis.call('SET', KEYS[1], id .. ' ' .. digits .. string.sub(head, #id + 1), 'PX', lease)
        local sent = redis.pcall('PUBLISH', inbox, id .. ' ' .. digits .. ' 0')
        return type(sent) == 'table' and sent.err and 9 or 1
      end
    end
  end
end

-- include base
-- include mutex
-- include grant
if ARGV[5] ~= '0' then
  known = math.max(known, tonumber(ARGV[5]))
  spent = true
end
-- include release
