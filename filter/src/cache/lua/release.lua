-- Ends a lock without a stored response.
--
-- KEYS[3]  the lock, see lookup.lua; the other keys are not used
-- ARGV[1]  its token
-- ARGV[2]  the channel; ARGV[3] the id, see put.lua
-- ARGV[4]  for how long nobody is to wait for a response of this key, in ms; 0: others may try
-- Returns  1 if the lock was that of the token
-- Cost     O(1)
local held = redis.pcall('HGET', KEYS[3], 't') == ARGV[1]
local waited = unlock(ARGV[1])
if held and tonumber(ARGV[4]) > 0 then
  redis.call('HSET', KEYS[3], 't', '-')
  redis.call('PEXPIRE', KEYS[3], ARGV[4])
end
if waited then
  redis.call('PUBLISH', ARGV[2], ARGV[3])
end
return held and 1 or 0
