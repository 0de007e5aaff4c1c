-- Grants on when an earlier script stopped at its bound of 128 steps.
--
-- KEYS   1 lock   2 queue   3 last token
-- ARGV   none
-- Reply  0, + 4 more to look at: call again, + 8 PUBLISH was refused

-- include base
-- include weighted
-- include grant
-- include pump
