-- Takes the share of the reentrant lock away that id holds.
--
-- KEYS   1 lock   2 queue   3 last token   4 shares
-- ARGV   1 id   2 request, as it was acquired with
--        3 channel on which Redisson's clients wait; "" for none
-- Reply  1 taken away   0 nothing was held under id   2 and somebody else holds it
--        + 4 more places to look at: call pump   + 8 PUBLISH was refused
local channel = ARGV[3]

-- include base
-- include reentrant
-- include grant
-- include evict
