-- Invalidates stored responses, whatever their number, by a record each of what they have in common.
--
-- KEYS[1]    the epoch of the last invalidation
-- KEYS[2]    all records by their epochs: a sorted set of their names, and of "prefix:" and a prefix
-- KEYS[3]    the record of all
-- KEYS[4]    the records of prefixes: a hash
-- KEYS[5 …]  the records that are written: of URLs, groups, hosts, or of all
-- ARGV[1]    "hard": what is older is gone; "soft": it is stale
-- ARGV[2]    the newest epoch that the caller has seen
-- ARGV[3]    for how long records are needed, in ms: the longest that anything is kept
-- ARGV[4 …]  prefixes that are written
-- Returns    the epoch
-- Clock      Redis TIME, but never back: what the caller has seen and what was last counts too
-- Cost       O(records + 10); the number of records is bounded
local PRUNED, MOST_RECORDS, MOST_PREFIXES = 10, 100000, 1000
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local last = redis.pcall('GET', KEYS[1])
local epoch = math.max(now, number(last, 0) + 1, number(ARGV[2], 0) + 1)

local function digits(n)
  return string.format('%.0f', n)
end

local function raised(record, hard, soft)
  local one, other = read(record)
  return digits(math.max(one, hard)) .. ' ' .. digits(math.max(other, soft))
end

local hard = ARGV[1] == 'hard' and epoch or 0
local soft = ARGV[1] == 'hard' and 0 or epoch

local function write(name, one, other)
  redis.call('SET', name, raised(redis.pcall('GET', name), one, other))
end

-- Records cost memory until nothing is as old as they are. What there are too many of becomes one of all.
local function drop(name, is_needed)
  local prefix = string.match(name, '^prefix:(.*)$')
  local record
  if prefix then
    record = redis.pcall('HGET', KEYS[4], prefix)
    redis.pcall('HDEL', KEYS[4], prefix)
  else
    record = redis.pcall('GET', name)
    redis.call('DEL', name)
  end
  redis.call('ZREM', KEYS[2], name)
  if is_needed then
    local one, other = read(record)
    write(KEYS[3], one, other)
  end
end

redis.call('SET', KEYS[1], digits(epoch))
for place = 5, #KEYS do
  write(KEYS[place], hard, soft)
  if KEYS[place] ~= KEYS[3] then
    redis.call('ZADD', KEYS[2], digits(epoch), KEYS[place])
  end
end
for place = 4, #ARGV do
  local prefix = ARGV[place]
  local record = redis.pcall('HGET', KEYS[4], prefix)
  redis.call('HSET', KEYS[4], prefix, raised(record, hard, soft))
  redis.call('ZADD', KEYS[2], digits(epoch), 'prefix:' .. prefix)
  if redis.call('HLEN', KEYS[4]) > MOST_PREFIXES then
    drop('prefix:' .. prefix, true)
  end
end
local old = now - tonumber(ARGV[3]) * 1000
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', digits(math.max(old, 0)), 'LIMIT', 0, PRUNED)) do
  drop(name, false)
end
local excess = redis.call('ZCARD', KEYS[2]) - MOST_RECORDS
if excess > 0 then
  for _, name in ipairs(redis.call('ZRANGE', KEYS[2], 0, math.min(excess, PRUNED) - 1)) do
    drop(name, true)
  end
end
return epoch
