-- Drives a proxy as so many clients as the one argument says, in turns, each known by its X-Forwarded-For; and makes
-- wrk end its output with one line of JSON, times in microseconds.
local requests, turn = {}, 0

init = function(args)
  for client = 0, tonumber(args[1]) - 1 do
    local address = string.format('10.%d.%d.%d', client / 65536, client / 256 % 256, client % 256)
    requests[client] = wrk.format('GET', nil, {['X-Forwarded-For'] = address})
  end
end

request = function()
  turn = (turn + 1) % (#requests + 1)
  return requests[turn]
end

done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "duration": %d, "p50": %d, "p99": %d, "max": %d, "refused": %d, "failed": %d}\n',
    summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), latency.max,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
