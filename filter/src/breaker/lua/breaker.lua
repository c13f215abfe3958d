-- Takes in what workers say of breakers, one after the other: what breaker/record.rs does in a process, step by step.
--
-- KEYS[1]      the index: a set of the names of all breakers that are not closed
-- KEYS[2]      the processes that live (worker/peers.rs); how many there are decides whose word counts
-- KEYS[3 ...]  the record of each op; one may come more than once
-- ARGV[1]      the channel on which changes are told
-- ARGV[2]      which process says so, 16 hexadecimal digits
-- ARGV[3]      chance, 0 to 1000, for the time a breaker stays open
-- ARGV[4]      how many policies there are
-- ARGV[5 ...]  each policy, words of: failures in a row, percent of failures, percent of slow calls (0: they do not
--              trip), length of the window and of its slots in ms, minimum of calls, shortest and longest time open in ms,
--              probes, successes that close, lease of a probe in ms
-- ARGV[...]    each op, words of: its policy, counted from 0, what happens, the epoch it is about, and
--                report    calls, failures, answered, slow, streak, streak answered, 1 if there was a success, retry after
--                ask       token, and the token that has lapsed or "-"
--                result    token, "+" for success, "-" for failure, "0" for none, retry after
--                recovered
--                look
-- Returns      for each op: its outcome and the line of told.rs
-- Tells        "<name>\n<line>" on the channel, when the state, its permits, or what others have to report has changed
-- Clock        Redis TIME, which only names slots and epochs: how long a breaker is open and a permit lasts is measured
--              by who waits
-- Cost         O(ops); each reads a hash and may write it
--
-- What is stored: a hash of readable fields (HGETALL). It expires when nothing of it matters any more.
local SLOTS, SETTLE_MS, MOST, MOST_DOUBLINGS = 10, 60, 9e15, 20
local floor, max, min = math.floor, math.max, math.min
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now = floor(now_us / 1000)
local channel, process, roll = ARGV[1], ARGV[2], tonumber(ARGV[3])
local live = redis.pcall('ZCARD', KEYS[2])
live = type(live) == 'number' and live or 1

-- What cannot be read is nothing: whatever is stored, no op fails.
local function number(text)
  local found = tonumber(text or '')
  if not found or found ~= found or found < 0 or found > MOST then
    return 0
  end
  return floor(found)
end

local function words(text)
  local list = {}
  for word in string.gmatch(text or '', '%S+') do
    list[#list + 1] = word
  end
  return list
end

local function digits(n)
  return string.format('%.0f', n)
end

local function join(...)
  local list = { ... }
  for place, value in ipairs(list) do
    list[place] = type(value) == 'number' and digits(value) or value
  end
  return table.concat(list, ' ')
end

-- Who had failures: "-" nobody, "*" several processes, else that one.
local function both(a, b)
  if a == '-' or a == b then
    return b
  end
  return b == '-' and a or '*'
end

local FIELDS = {
  'state', 'epoch', 'cause', 'trips', 'wait', 'against', 'permits', 'successes', 'streak', 'suspect', 'bad_since', 'slots',
}

local CAUSES = {
  consecutive_failures = true, failure_ratio = true, slow_calls = true, probe_failed = true, wait_over = true,
  probes_succeeded = true, recovered = true,
}

local function tokens(text)
  local list = {}
  for _, word in ipairs(words(text)) do
    if #word == 16 and not word:find('%X') then
      list[#list + 1] = word
    end
  end
  return list
end

local function load(key)
  local found = redis.pcall('HMGET', key, unpack(FIELDS))
  local field = {}
  for place, name in ipairs(FIELDS) do
    field[name] = not found.err and found[place] or nil
  end
  local known = field.state == 'closed' or field.state == 'open' or field.state == 'half-open'
  if not known then
    field = { state = 'closed' }
  end
  local streak, against = words(field.streak), words(field.against)
  local record = {
    exists = known,
    state = field.state,
    epoch = number(field.epoch),
    cause = CAUSES[field.cause] and field.cause or '-',
    trips = number(field.trips),
    wait = number(field.wait),
    against = { number(against[1]), number(against[2]), number(against[3]), number(against[4]) },
    permits = tokens(field.permits),
    successes = number(field.successes),
    streak = number(streak[1]),
    streak_answered = number(streak[2]),
    streak_by = streak[3] or '-',
    streak_since = number(streak[4]),
    suspect = number(field.suspect),
    bad_since = number(field.bad_since),
    slots = {},
  }
  for text in string.gmatch(field.slots or '', '[^;]+') do
    local slot = words(text)
    local of = number(slot[1])
    record.slots[of % SLOTS] = {
      number = of, calls = number(slot[2]), failures = number(slot[3]),
      answered = number(slot[4]), slow = number(slot[5]), by = slot[6] or '-',
    }
  end
  return record
end

local function store(key, record, policy)
  local slots = {}
  for place = 0, SLOTS - 1 do
    local slot = record.slots[place]
    if slot then
      slots[#slots + 1] = join(slot.number, slot.calls, slot.failures, slot.answered, slot.slow, slot.by)
    end
  end
  redis.call('DEL', key)
  redis.call('HSET', key,
    'state', record.state, 'epoch', digits(record.epoch), 'cause', record.cause, 'trips', digits(record.trips),
    'wait', digits(record.wait), 'against', join(unpack(record.against)), 'permits', table.concat(record.permits, ' '),
    'successes', digits(record.successes),
    'streak', join(record.streak, record.streak_answered, record.streak_by, record.streak_since),
    'suspect', digits(record.suspect), 'bad_since', digits(record.bad_since), 'slots', table.concat(slots, ';'))
  if record.state == 'closed' then
    redis.call('PEXPIRE', key, digits(2 * policy.window + 60000))
    redis.call('SREM', KEYS[1], key)
  else
    redis.call('PEXPIRE', key, digits(record.wait + policy.lease + 600000))
    redis.call('SADD', KEYS[1], key)
  end
end

local function line(record, policy)
  local state, wait, permits, against = record.state, 0, '', record.against
  if state == 'closed' then
    if record.suspect > 0 and now >= record.suspect and now - record.suspect < policy.window then
      state = 'suspect'
    end
    against = { record.streak, 0, 0, 0 }
  elseif state == 'open' then
    wait = record.wait
  else
    permits = table.concat(record.permits, ',')
  end
  return join(record.epoch, state, record.cause, wait, against[1], against[2], against[3], against[4], permits)
end

-- What others have to be told of.
local function news(record, policy)
  local state = line(record, policy):match('^%S+ %S+')
  return join(state, record.streak > 0 and 1 or 0, record.suspect, table.concat(record.permits, ','))
end

local function turn(record, cause, state)
  record.epoch, record.cause, record.state = max(now_us, record.epoch + 1), cause, state
  record.permits, record.successes = {}, 0
  record.streak, record.streak_answered, record.streak_by, record.streak_since = 0, 0, '-', 0
  record.suspect, record.bad_since, record.slots = 0, 0, {}
  return 'changed'
end

local function open(record, policy, cause, said)
  record.trips = record.trips + 1
  local ceiling = policy.open_for * 2 ^ min(record.trips - 1, MOST_DOUBLINGS)
  local above = max(min(ceiling, policy.max_open_for) - policy.open_for, 0)
  record.wait = policy.open_for + floor(above * roll / 1000)
  if said > 0 then
    record.wait = min(said, policy.max_open_for)
  end
  return turn(record, cause, 'open')
end

local function close(record, cause)
  record.trips, record.wait = 0, 0
  return turn(record, cause, 'closed')
end

-- All slots that are not over at the time of slot `number`, added up.
local function window(record, of)
  local sum = { calls = 0, failures = 0, answered = 0, slow = 0, by = '-' }
  for place = 0, SLOTS - 1 do
    local slot = record.slots[place]
    if slot and slot.number <= of and slot.number > of - SLOTS then
      sum.calls, sum.failures = sum.calls + slot.calls, sum.failures + slot.failures
      sum.answered, sum.slow = sum.answered + slot.answered, sum.slow + slot.slow
      sum.by = both(sum.by, slot.by)
    end
  end
  return sum
end

local function judge(record, policy, sum)
  local function alone(by)
    return by ~= '-' and by ~= '*' and live > 1
  end
  local function settled(by, since)
    return not alone(by) or now - since >= SETTLE_MS
  end
  local function share(part)
    return sum.calls > 0 and floor(part * 100 / sum.calls) or 0
  end
  local counts = sum.calls >= policy.minimum
  local streak = alone(record.streak_by) and record.streak_answered or record.streak
  local failures = alone(sum.by) and sum.answered or sum.failures
  local reasons = {
    { policy.row > 0 and streak >= policy.row, 'consecutive_failures', settled(record.streak_by, record.streak_since) },
    { counts and policy.failing > 0 and share(failures) >= policy.failing, 'failure_ratio',
      settled(sum.by, record.bad_since) },
    { counts and policy.slow > 0 and share(sum.slow) >= policy.slow, 'slow_calls', settled(sum.by, record.bad_since) },
  }
  local outcome = 'noted'
  for _, reason in ipairs(reasons) do
    if reason[1] and reason[3] then
      return reason[2], outcome
    elseif reason[1] then
      outcome = 'unsettled'
    end
  end
  return nil, outcome
end

local function report(record, policy, said)
  local calls, failures, answered, slow = number(said[4]), number(said[5]), number(said[6]), number(said[7])
  local streak, streak_answered, retry_after = number(said[8]), number(said[9]), number(said[11])
  local by = (failures > 0 or slow > 0) and process or '-'
  if said[10] == '1' then
    record.streak, record.streak_answered, record.streak_by = 0, 0, '-'
  end
  if streak > 0 then
    if record.streak == 0 or record.streak_since > now then
      record.streak_since = now
    end
    record.streak, record.streak_answered = record.streak + streak, record.streak_answered + streak_answered
    record.streak_by = both(record.streak_by, by)
  end
  local of = floor(now / policy.slot)
  local was_bad = window(record, of).by ~= '-'
  local slot = record.slots[of % SLOTS]
  if not slot or slot.number ~= of then
    slot = { number = of, calls = 0, failures = 0, answered = 0, slow = 0, by = '-' }
    record.slots[of % SLOTS] = slot
  end
  slot.calls, slot.failures = slot.calls + calls, slot.failures + failures
  slot.answered, slot.slow, slot.by = slot.answered + answered, slot.slow + slow, both(slot.by, by)
  if by ~= '-' then
    if not was_bad or record.bad_since > now then
      record.bad_since = now
    end
    if now < record.suspect or now - record.suspect >= floor(policy.window / 2) then
      record.suspect = now
    end
  end
  local sum = window(record, of)
  local cause, outcome = judge(record, policy, sum)
  if not cause then
    return outcome
  end
  record.against = { record.streak, sum.calls, sum.failures, sum.slow }
  return open(record, policy, cause, retry_after)
end

local function without(permits, token)
  local kept = {}
  for _, held in ipairs(permits) do
    if held ~= token then
      kept[#kept + 1] = held
    end
  end
  return kept
end

local function on_event(record, policy, op)
  local what = op[2]
  if what == 'look' then
    return 'noted'
  elseif number(op[3]) ~= record.epoch then
    return 'ignored'
  elseif record.state == 'closed' then
    return what == 'report' and report(record, policy, op) or 'ignored'
  elseif what == 'recovered' then
    return close(record, 'recovered')
  elseif record.state == 'open' then
    if what ~= 'ask' then
      return 'ignored'
    end
    turn(record, 'wait_over', 'half-open')
    record.permits = { op[4] }
    return 'granted'
  elseif what == 'ask' then
    record.permits = without(record.permits, op[5])
    if #record.permits >= policy.probes then
      return 'refused'
    end
    record.permits[#record.permits + 1] = op[4]
    return 'granted'
  elseif what == 'result' then
    local kept = without(record.permits, op[4])
    if #kept == #record.permits then
      return 'ignored'
    end
    record.permits = kept
    if op[5] == '0' then
      return 'noted'
    elseif op[5] == '-' then
      return open(record, policy, 'probe_failed', number(op[6]))
    end
    record.successes = record.successes + 1
    return record.successes < policy.close_after and 'noted' or close(record, 'probes_succeeded')
  end
  return 'ignored'
end

local policies = {}
local first_op = 5 + ARGV[4]
for argument = 5, first_op - 1 do
  local said = words(ARGV[argument])
  policies[#policies + 1] = {
    row = number(said[1]), failing = number(said[2]), slow = number(said[3]),
    window = number(said[4]), slot = max(number(said[5]), 1), minimum = number(said[6]),
    open_for = number(said[7]), max_open_for = number(said[8]),
    probes = number(said[9]), close_after = number(said[10]), lease = number(said[11]),
  }
end

local replies = {}
for argument = first_op, #ARGV do
  local op, key = words(ARGV[argument]), KEYS[3 + argument - first_op]
  local policy = policies[op[1] + 1]
  local record = load(key)
  local before = news(record, policy)
  local outcome = on_event(record, policy, op)
  local after = line(record, policy)
  if op[2] == 'look' then
    if record.state == 'closed' then
      redis.call('SREM', KEYS[1], key)
    end
  elseif outcome ~= 'ignored' then
    store(key, record, policy)
    if news(record, policy) ~= before then
      redis.call('PUBLISH', channel, key .. '\n' .. after)
    end
  end
  replies[#replies + 1] = outcome .. ' ' .. after
end
return replies
