-- The beginning of the scripts that have to know what has been invalidated.
--
-- An invalidation is a record: of a URL, of a group, of a host, of all, or of paths that begin so. Its value is two
-- epochs, "<hard> <soft>": what is older than the first is gone, what is older than the second is stale. A stored response
-- has the epoch of when it was asked for. So an invalidation costs one write, however much it is about, and a response
-- that was on its way meanwhile is older than it.
--
-- What cannot be read is nothing, but for the two numbers: then all is gone.
local MOST = 9e15

local function number(text, otherwise)
  local found = tonumber(text or '')
  if not found or found ~= found or found < 0 or found > MOST then
    return otherwise
  end
  return math.floor(found)
end

local function read(record)
  if type(record) ~= 'string' then
    return 0, 0
  end
  local hard, soft = string.match(record, '^(%d+) (%d+)$')
  return number(hard, MOST), number(soft, MOST)
end

-- The newest records that a response of these groups falls under. KEYS[4 ... 7]: the records of all, of the host, of the
-- URL, and of prefixes, a hash by prefix; `of_group` is what the names of groups' records begin with.
local function newest(url, of_group, groups)
  local hard, soft = 0, 0
  local function take(record)
    local one, other = read(record)
    hard, soft = math.max(hard, one), math.max(soft, other)
  end
  for place = 4, 6 do
    take(redis.pcall('GET', KEYS[place]))
  end
  for at = 1, #groups - 15, 16 do
    take(redis.pcall('GET', of_group .. string.sub(groups, at, at + 15)))
  end
  local count = redis.pcall('HLEN', KEYS[7])
  if type(count) == 'number' and count > 0 then
    local prefixes = redis.call('HGETALL', KEYS[7])
    for place = 1, #prefixes, 2 do
      local prefix = prefixes[place]
      local after = string.sub(url, #prefix + 1, #prefix + 1)
      -- By segments: /a is about /a, /a/b and /a?b, and not about /ab.
      if string.sub(url, 1, #prefix) == prefix and
          (after == '' or after == '/' or after == '?' or string.sub(prefix, -1) == '/') then
        take(prefixes[place + 1])
      end
    end
  end
  return hard, soft
end

-- Takes the lock KEYS[3] for so many ms, or waits for it: "mine", "taken", or "useless" if nobody is to wait.
local function lock(token, lease)
  local held = redis.pcall('HGET', KEYS[3], 't')
  if type(held) ~= 'string' then
    redis.call('DEL', KEYS[3])
    redis.call('HSET', KEYS[3], 't', token)
    redis.call('PEXPIRE', KEYS[3], lease)
    return 'mine'
  end
  if held == '-' then
    return 'useless'
  end
  redis.call('HSET', KEYS[3], 'w', 1)
  return 'taken'
end

-- Ends the lock KEYS[3], if it is that of `token`, and wakes those who wait for it, if any. Returns whether there are.
local function unlock(token)
  if token == '' or redis.pcall('HGET', KEYS[3], 't') ~= token then
    return false
  end
  local waited = redis.call('HGET', KEYS[3], 'w')
  redis.call('DEL', KEYS[3])
  return waited ~= false
end
