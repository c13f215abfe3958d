-- Lets one worker of the fleet validate a stored response.
--
-- KEYS[3]  the lock, see lookup.lua; the other keys are not used
-- ARGV[1]  a token; ARGV[2] for how long it is waited for, in ms
-- Returns  "mine", "taken" or "useless"
-- Cost     O(1)
return lock(ARGV[1], ARGV[2])
