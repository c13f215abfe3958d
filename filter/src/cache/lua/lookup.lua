-- Looks for a stored response, and lets one worker of the fleet fetch it if there is none.
--
-- KEYS[1]  the names that responses of this primary key vary on: a text
-- KEYS[2]  the stored response: a hash of m (its header), b (its body), i (which body that is), e (its epoch), g (its
--          groups, 16 bytes each, r (when it was received, in ms)
-- KEYS[3]  the lock: a hash of t (whose it is; "-": nobody is to wait, as responses are not stored), w (somebody waits)
-- KEYS[4]  the record of all; KEYS[5] of the host; KEYS[6] of the URL; KEYS[7] of prefixes
-- KEYS[8]  the epoch of the last invalidation
-- ARGV[1]  the names that KEYS[2] was made for
-- ARGV[2]  a token: who fetches it if it is missing; "": nobody
-- ARGV[3]  for how long that is waited for, in ms
-- ARGV[4]  what the names of groups' records begin with
-- ARGV[5]  the URL: origin and path
-- Returns  "names", names              it varies on these
--          "found", m, epoch, stale    the epoch at which it was softly invalidated, 0 if it was not
--          "missing", epoch, lock      "mine", "taken", "useless" (see KEYS[3]) or "none" (not asked for)
-- Cost     O(groups + prefixes)
local names = redis.pcall('GET', KEYS[1])
if type(names) ~= 'string' then
  names = ''
end
if names ~= ARGV[1] then
  return { 'names', names }
end
local epoch = number(redis.pcall('GET', KEYS[8]), 0)
local found = redis.pcall('HMGET', KEYS[2], 'm', 'e', 'g')
if not found.err and found[1] and found[2] then
  local made = number(found[2], 0)
  local hard, soft = newest(ARGV[5], ARGV[4], found[3] or '')
  if hard <= made then
    return { 'found', found[1], epoch, soft > made and soft or 0 }
  end
end
if ARGV[2] == '' then
  return { 'missing', epoch, 'none' }
end
return { 'missing', epoch, lock(ARGV[2], ARGV[3]) }
