-- Ends id: gives its permits back, or its place in the queue, or both, and
-- grants what there is room for then to the next live waiters in the same step.
--
-- KEYS   1 lock   2 queue   3 last token
-- ARGV   1 id   2 request, as it was acquired with
--        3 ms that a tombstone for id stays; 0 for none
--        4 ms that the room still stays taken (minimum hold); 0 for none
--        5 another request that id may hold under: "" for none, see downgrade
-- Reply  0 nothing was held under id, nobody holds the lock
--        1 released      2 nothing was held under id, others hold it
--        + 4 more places to look at: call pump   + 8 PUBLISH was refused

-- include base
-- include weighted
-- include grant
if ARGV[5] ~= '' and mine(ARGV[1], ARGV[5]) then ARGV[2] = ARGV[5] end
-- include release
