-- Grants on when an earlier script stopped at its bound of 128 steps.
grant('')
return flags
