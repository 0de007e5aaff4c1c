-- Shared by the scripts that may find room: the one loop that grants.

-- reap removes marks that are over, a bounded number of them.
local function reap()
  local over = redis.call('ZRANGE', queue, text(-ms), '(0', 'BYSCORE', 'LIMIT', 0, BOUND)
  if #over > 0 then redis.call('ZREM', queue, unpack(over)) end
end

-- bar writes a tombstone that stays for a time: a late copy of this id's first
-- acquire must not take anything. expires is when the queue ended before this
-- script, which may have emptied it, and its TTL with it.
local function bar(id, stay, expires)
  redis.call('ZADD', queue, text(-(ms + tonumber(stay))), 'gone ' .. id)
  redis.call('PEXPIRE', queue, text(math.max(expires, tonumber(stay))))
  reap()
end

-- serve makes holders of those that grant has claimed room for, and tells all
-- but the caller.
local function serve(claimed, caller)
  local got
  for _, c in ipairs(claimed) do
    local id, request = c[1], c[2]
    local given = admit(id, request)
    if id == caller then
      got = given
    else
      tell(string.match(request, '^%d+ (%S+)'), id, given)
    end
  end
  settle()
  deliver()
  return got
end

-- grant serves the head of the queue, whoever it is, while the head fits, and
-- passes over the dead. Returns the caller's token if it was served, and whether
-- nobody is left in the queue.
local function grant(caller)
  local passed, claimed, seen, batch, empty = {}, {}, 0, 1, false
  local open = not full
  while open do
    local places = redis.call('ZRANGE', queue, 1, '+inf', 'BYSCORE', 'LIMIT', seen, batch)
    for _, place in ipairs(places) do
      local id = string.match(place, '^%S+')
      local live = redis.call('ZSCORE', queue, 'live ' .. id)
      if live and -tonumber(live) > ms then
        local request = string.sub(place, #id + 2)
        if not claim(request) then
          open = false
          break
        end
        table.insert(claimed, { id, request })
      end
      table.insert(passed, place)
      table.insert(passed, 'live ' .. id)
      seen = seen + 1
      if full then
        open = false
        break
      end
    end
    if open and #places < batch then
      open, empty = false, true
    elseif open and seen == BOUND then
      open = false
      if flags < MORE then flags = flags + MORE end
    end
    batch = math.min(2 * batch, BOUND - seen)
  end
  -- First write: ZREM is allowed when Redis is out of memory, and so is then
  -- the rest of the script.
  if #passed > 0 then redis.call('ZREM', queue, unpack(passed)) end
  return serve(claimed, caller), empty
end
