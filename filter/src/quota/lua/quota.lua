-- Decides many requests in one call, one after the other: each either takes its units of all its counters, or of none.
--
-- KEYS[c]      counter c, see below; it expires when nothing of it matters any more
-- ARGV[1]      for each counter one byte: its policy, counted from 0
-- ARGV[2]      for each request: one byte with the number of its counters less one, then for each of them its place in
--              KEYS and that of its cost among the costs, a byte each, both counted from 0
-- ARGV[3]      how many policies there are
-- ARGV[4]      how many leases are asked for
-- ARGV[5 ...]  for each policy: its algorithm (0 fixed window, 1 sliding window, 2 token bucket), its limit, the length
--              of its window in milliseconds (0: a month in UTC), and how much its bucket holds (else 0)
-- ARGV[...]    for each lease, which is taken after all requests: the place of its counter in KEYS, from 0, the units
--              that are wanted, and which part of what is left may be taken: 8 for an eighth
-- ARGV[... n]  the costs: units, below zero for a shadow, whose lack of room refuses nothing
-- Returns      integers. For each counter: units that are left in it after this call, and the milliseconds until there
--              are enough for the dearest of the refused requests that fall on it, if there are not; else, if none is
--              left, until one is there, else until its window ends or its bucket is full. For each request: 0 if it
--              is refused and was not counted, else 1 more than the number of its shadows that have no room and did
--              not count it, and the places of those among its counters, from 0. For each lease: the
--              units taken, the milliseconds until its window ends and that moment (0 and 0 for a bucket)
-- Clock        Redis TIME: one clock for all replicas
-- Cost         O(checks of all requests): TIME, MGET, and one write for each counter that is taken of
--
-- What is stored:
-- fixed window   an integer. Its last digit is that of the window's number (since 1970, or in the calendar), the others
--                are the units taken: 57 is 5 units in a window whose number ends in 7
-- sliding window "number taken before": the number of a window, the units taken in it, and in the one before
-- token bucket   "level time": the units in the bucket at a time in microseconds
--
-- Windows start at multiples of their length since 1970-01-01 UTC.
-- quota/algorithm.rs has the same arithmetic for counting within a process, operation by operation.
local FIXED, SLIDING, BUCKET = 0, 1, 2
local abs, byte, floor, max, min = math.abs, string.byte, math.floor, math.max, math.min
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now = floor(now_us / 1000)

-- The number of the month in UTC, and the milliseconds until it ends (days to civil date as by Howard Hinnant).
local function month()
  local function since_march(days)
    local z = days + 719468
    local of_era = z % 146097
    local year = floor((of_era - floor(of_era / 1460) + floor(of_era / 36524) - floor(of_era / 146096)) / 365)
    local of_year = of_era - (365 * year + floor(year / 4) - floor(year / 100))
    return (floor(z / 146097) * 400 + year) * 12 + floor((5 * of_year + 2) / 153)
  end
  local today = floor(now / 86400000)
  local number, days = since_march(today), 1
  while since_march(today + days) == number do
    days = days + 1
  end
  return number, (today + days) * 86400000 - now
end

local policies, leases, costs = {}, {}, {}
local first_lease = 5 + 4 * ARGV[3]
local first_cost = first_lease + 3 * ARGV[4]
for argument = 5, first_lease - 1, 4 do
  local window = tonumber(ARGV[argument + 2])
  local policy = {
    algorithm = tonumber(ARGV[argument]),
    limit = tonumber(ARGV[argument + 1]),
    window = window,
    burst = tonumber(ARGV[argument + 3]),
  }
  if window > 0 then
    policy.number, policy.left = floor(now / window), window - now % window
  else
    policy.number, policy.left = month()
  end
  policies[#policies + 1] = policy
end
for argument = first_lease, first_cost - 1, 3 do
  leases[#leases + 1] = {
    c = ARGV[argument] + 1,
    wanted = tonumber(ARGV[argument + 1]),
    part = tonumber(ARGV[argument + 2]),
  }
end
for argument = first_cost, #ARGV do
  costs[#costs + 1] = tonumber(ARGV[argument])
end

-- By counter: what is left, what is taken of it here, what was before, and the dearest refused request on it.
local policy_of, available, spent, taken, before, need = {}, {}, {}, {}, {}, {}
local places = {byte(ARGV[1], 1, -1)}
for c, stored in ipairs(redis.call('MGET', unpack(KEYS))) do
  local policy = policies[places[c] + 1]
  policy_of[c], spent[c], taken[c], before[c], need[c] = policy, 0, 0, 0, 1
  if policy.algorithm == FIXED then
    local count = tonumber(stored) or 0
    -- Redis may still show a counter in the millisecond in which its window has ended: keys expire after their moment,
    -- and by a clock that stands still while a script runs. Its digit is another then.
    if count % 10 == policy.number % 10 then
      taken[c] = floor(count / 10)
    end
    available[c] = policy.limit - taken[c]
  elseif policy.algorithm == SLIDING then
    local number, here, there = string.match(stored or '', '^(%d+) (%d+) (%d+)$')
    if tonumber(number) == policy.number then
      taken[c], before[c] = tonumber(here), tonumber(there)
    elseif tonumber(number) == policy.number - 1 then
      before[c] = tonumber(here)
    end
    available[c] = policy.limit - (before[c] * (policy.left / policy.window) + taken[c])
  else
    local level, since = string.match(stored or '', '^(%S+) (%d+)$')
    local elapsed = max(now_us - (tonumber(since) or now_us), 0)
    level = (tonumber(level) or policy.burst) + elapsed * policy.limit / (policy.window * 1000)
    available[c] = min(policy.burst, level)
  end
end

local requests, at, verdicts = ARGV[2], 1, {}
while at <= #requests do
  local checks = 2 * (byte(requests, at) + 1)
  local layout, passes = {byte(requests, at + 1, at + checks)}, true
  for check = 1, checks, 2 do
    local cost = costs[layout[check + 1] + 1]
    passes = passes and (cost < 0 or available[layout[check] + 1] >= cost)
  end
  local verdict = #verdicts + 1
  verdicts[verdict] = passes and 1 or 0
  for check = 1, checks, 2 do
    local c, units = layout[check] + 1, abs(costs[layout[check + 1] + 1])
    if passes and available[c] >= units then
      available[c], spent[c] = available[c] - units, spent[c] + units
    else
      -- Also where it had room: later ones may take that.
      need[c] = max(need[c], units)
      if passes then
        verdicts[verdict], verdicts[#verdicts + 1] = verdicts[verdict] + 1, (check - 1) / 2
      end
    end
  end
  at = at + 1 + checks
end

for _, lease in ipairs(leases) do
  local c = lease.c
  lease.taken = max(min(lease.wanted, floor(available[c] / lease.part)), 0)
  available[c], spent[c] = available[c] - lease.taken, spent[c] + lease.taken
end

-- Milliseconds until a sliding window has room for what it lacks; what never fits may ask again in the next but one.
local function sliding_wait(c, policy)
  local total, room = taken[c] + spent[c], policy.limit - need[c]
  if room < 0 then
    return policy.left + policy.window
  elseif total <= room then
    return floor(policy.left - (room - total) * policy.window / before[c]) + 1
  end
  return policy.left + max(floor(policy.window - room * policy.window / total) + 1, 0)
end

-- Milliseconds until a bucket holds so many tokens; for more than it ever holds, the length of a window.
local function bucket_wait(c, policy, tokens)
  if tokens > policy.burst then
    return policy.window
  end
  return floor((tokens - available[c]) * policy.window / policy.limit) + 1
end

local reply = {}
for c, policy in ipairs(policy_of) do
  local key, wait, value, lives = KEYS[c], policy.left, nil, policy.left
  if policy.algorithm == FIXED then
    value = 10 * spent[c] + policy.number % 10
  elseif policy.algorithm == SLIDING then
    value = string.format('%.0f %.0f %.0f', policy.number, taken[c] + spent[c], before[c])
    lives = policy.left + policy.window
    wait = available[c] < need[c] and sliding_wait(c, policy) or wait
  else
    value = string.format('%.17g %.0f', available[c], now_us)
    lives = bucket_wait(c, policy, policy.burst)
    wait = available[c] < need[c] and bucket_wait(c, policy, need[c]) or lives
  end
  if spent[c] > 0 and policy.algorithm == FIXED and taken[c] > 0 then
    redis.call('INCRBY', key, 10 * spent[c])
  elseif spent[c] > 0 then
    redis.call('SET', key, value, 'PXAT', now + lives)
  end
  reply[2 * c - 1] = max(floor(available[c]), 0)
  reply[2 * c] = wait
end
for _, verdict in ipairs(verdicts) do
  reply[#reply + 1] = verdict
end
for _, lease in ipairs(leases) do
  local policy, at = policy_of[lease.c], #reply
  local is_window = policy.algorithm ~= BUCKET
  reply[at + 1] = lease.taken
  reply[at + 2] = is_window and policy.left or 0
  reply[at + 3] = is_window and now + policy.left or 0
end
return reply
