-- Counts a request on all KEYS, or on none: ARGV[1] is the limit, ARGV[2] the length of the window in seconds.
for _, key in ipairs(KEYS) do
  if tonumber(redis.call('GET', key) or 0) >= tonumber(ARGV[1]) then
    return 0
  end
end
for _, key in ipairs(KEYS) do
  if redis.call('INCR', key) == 1 then
    redis.call('EXPIRE', key, ARGV[2])
  end
end
return 1
