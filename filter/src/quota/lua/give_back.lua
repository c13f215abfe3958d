-- Gives units back that were taken ahead and not used, to windows that are still the same.
--
-- KEYS[c]      counter c, as quota.lua keeps it
-- ARGV[3c - 2] units
-- ARGV[3c - 1] the end of the window they were taken in, in milliseconds since 1970
-- ARGV[3c]     the length of the window in milliseconds if it slides, else 0
-- Returns      how many counters have them back
-- Clock        Redis TIME
-- Cost         O(counters): GET and one write for each
--
-- Whatever else became of a counter meanwhile (its window has ended, it was deleted, a failover lost it) keeps the
-- units: to give back what is not there any more would let more pass than the limit.
local time = redis.call('TIME')
local now, returned = time[1] * 1000 + math.floor(time[2] / 1000), 0
for c, key in ipairs(KEYS) do
  local units, ends, length = tonumber(ARGV[3 * c - 2]), tonumber(ARGV[3 * c - 1]), tonumber(ARGV[3 * c])
  local stored = now < ends and redis.call('GET', key)
  if stored and length == 0 and (tonumber(stored) or 0) >= 10 * units then
    redis.call('DECRBY', key, 10 * units)
    returned = returned + 1
  elseif stored and length > 0 then
    local number, taken, before = string.match(stored, '^(%d+) (%d+) (%d+)$')
    if tonumber(number) == ends / length - 1 and tonumber(taken) >= units then
      redis.call('SET', key, string.format('%s %.0f %s', number, taken - units, before), 'KEEPTTL')
      returned = returned + 1
    end
  end
end
return returned
