-- Grants a free mutex when an earlier script stopped at its bound of 128 steps.
--
-- KEYS   1 lock   2 queue   3 last token
-- ARGV   none
-- Reply  0, + 4 more places to look at: call again, + 8 PUBLISH was refused

-- include base
-- include mutex
-- include grant
-- include pump
