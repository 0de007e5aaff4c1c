-- Ends id: gives its mutex back, or its place in the queue, or both, and hands a
-- free mutex to the next live waiter in the same step.
--
-- KEYS   1 lock   2 queue   3 last token
-- ARGV   1 id   2 request, as it was acquired with
--        3 ms that a tombstone for id stays; 0 for none
--        4 ms that the lock still stays taken (minimum hold); 0 for none
-- Reply  0 nothing was held under id, nobody holds the lock
--        1 released      2 nothing was held under id, somebody else holds it
--        + 4 more places to look at: call pump   + 8 PUBLISH was refused
if ARGV[3] == '0' and ARGV[4] == '0' and redis.call('EXISTS', KEYS[2]) == 0 then
  local value = redis.call('GET', KEYS[1])
  if value and string.sub(value, 1, #ARGV[1] + 1) == ARGV[1] .. ' ' then
    redis.call('DEL', KEYS[1]) -- nobody waits
    return 1
  end
end

-- include base
-- include mutex
-- include grant
-- include release
