-- Takes the reentrant lock, for the first time or again, or a place in its
-- queue, or asks how a place stands. An owner that holds it passes the queue.
--
-- KEYS   1 lock   2 queue   3 last token   4 shares
-- ARGV   1 id   2 request "<lease ms> <inbox> <bytes of owner> <owner> <holder>"
--        3 lease ms   4 "lock" | "try" | "poll"
--        5 ms that the waiter counts as alive
-- Reply  token (> 0)   yours: the lease starts anew with this call
--        0             no place: left, or skipped as dead
--        {last token, ms left of the hold (-1 without end, -2 nobody), places
--         before this one, places in all, flags, 1 if the hold is ours, the
--         holder's text of the share that ends last}
local channel = ''

-- include base
-- include reentrant
-- include grant
-- include standing
-- include acquire
