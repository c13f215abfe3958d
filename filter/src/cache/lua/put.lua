-- Stores a response, or a newer header of one, unless something was invalidated since it was asked for.
--
-- KEYS      as lookup.lua has them
-- ARGV[1]   the token of the lock that this ends; "": of none
-- ARGV[2]   the channel on which ids are told: of what somebody waits for, and of what has been replaced
-- ARGV[3]   the id of the stored response
-- ARGV[4]   what the names of groups' records begin with
-- ARGV[5]   the URL: origin and path
-- ARGV[6]   the names that it varies on
-- ARGV[7]   for how long it is kept, in ms
-- ARGV[8]   m; ARGV[9] e; ARGV[10] g; ARGV[11] i; ARGV[12] r; ARGV[13] b, without which i has to be the one that is
--           stored
-- Returns   "stored"; "invalidated": since it was asked for; "changed": the body is another one by now
-- Cost      O(groups + prefixes)
local function put()
  local hard, soft = newest(ARGV[5], ARGV[4], ARGV[10])
  if math.max(hard, soft) > number(ARGV[9], 0) then
    return 'invalidated', false
  end
  local before = redis.pcall('HGET', KEYS[2], 'i')
  if ARGV[13] then
    -- Whatever else was there: a field too many would be kept for ever.
    redis.call('DEL', KEYS[2])
    redis.call('HSET', KEYS[2], 'm', ARGV[8], 'e', ARGV[9], 'g', ARGV[10], 'i', ARGV[11], 'r', ARGV[12],
      'b', ARGV[13])
  elseif before == ARGV[11] then
    redis.call('HSET', KEYS[2], 'm', ARGV[8], 'e', ARGV[9], 'g', ARGV[10], 'r', ARGV[12])
  else
    return 'changed', false
  end
  redis.call('PEXPIRE', KEYS[2], ARGV[7])
  if ARGV[6] == '' then
    redis.call('DEL', KEYS[1])
  else
    -- For as long as any response of these names is kept.
    local left = redis.call('PTTL', KEYS[1])
    redis.call('SET', KEYS[1], ARGV[6], 'PX', string.format('%.0f', math.max(left, tonumber(ARGV[7]))))
  end
  return 'stored', type(before) == 'string'
end

local outcome, replaced = put()
local waited = unlock(ARGV[1])
if waited or replaced then
  redis.call('PUBLISH', ARGV[2], ARGV[3])
end
return outcome
