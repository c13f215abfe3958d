-- Lets one worker of the fleet validate a stored response.
--
-- KEYS[2]  the stored response, KEYS[3] the lock, see lookup.lua; the other keys are not used
-- ARGV[1]  a token; ARGV[2] for how long it is waited for, in ms
-- ARGV[3]  its r, if it is still the one that was found; "": whatever there is
-- Returns  "mine", "taken", "useless", or "changed": it is another one by now, so that it has to be looked at again
-- Cost     O(1)
if ARGV[3] ~= '' and redis.pcall('HGET', KEYS[2], 'r') ~= ARGV[3] then
  return 'changed'
end
return lock(ARGV[1], ARGV[2])
