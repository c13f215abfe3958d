-- Drives a proxy as so many clients as the one argument says, in turns, each known by its X-Forwarded-For; and makes
-- wrk end its output with one line of JSON, times in microseconds.
local KEPT = 100000
local requests, turn, clients = {}, -1, 0

local function write(client)
  local address = string.format('10.%d.%d.%d', client / 65536, client / 256 % 256, client % 256)
  return wrk.format('GET', nil, {['X-Forwarded-For'] = address})
end

init = function(args)
  clients = tonumber(args[1])
  -- Of the others each is written when it is its turn, as Lua's memory is bounded.
  for client = 0, math.min(clients, KEPT) - 1 do
    requests[client] = write(client)
  end
end

request = function()
  turn = (turn + 1) % clients
  return requests[turn] or write(turn)
end

done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "duration": %d, "p50": %d, "p99": %d, "max": %d, "refused": %d, "failed": %d}\n',
    summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), latency.max,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
