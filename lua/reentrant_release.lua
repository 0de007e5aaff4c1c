-- Ends id: gives its share of the reentrant lock back, or its place in the
-- queue, or both. The last share hands the lock to the next live waiter in the
-- same step.
--
-- KEYS   1 lock   2 queue   3 last token   4 shares
-- ARGV   1 id   2 request, as it was acquired with
--        3 ms that a tombstone for id stays; 0 for none
--        4 ms that the share still stays (minimum hold); 0 for none
--        5 channel on which Redisson's clients wait; "" for none
-- Reply  0 nothing was held under id, nor does anybody else hold the lock
--        1 released      2 nothing was held under id, somebody else holds it
--        + 4 more places to look at: call pump   + 8 PUBLISH was refused
local channel = ARGV[5]

-- include base
-- include reentrant
-- include grant
-- include release
