-- The load's requests, and what came back: made once, so that sending one costs a table's look-up.
local requests, turn, threads = {}, 0, {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  local body, headers, tokens = nil, {}, false
  for line in io.lines(args[1]) do
    if not body then
      body = line
    elseif line == "" then
      tokens = true
    elseif tokens then
      headers["authorization"] = "Bearer " .. line
      table.insert(requests, wrk.format("POST", nil, headers, body))
    else
      local name, value = line:match("^([^:]+): (.*)$")
      headers[name] = value
    end
  end
  if #requests == 0 then
    table.insert(requests, wrk.format("POST", nil, headers, body))
  end
  counts = {}
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function response(status)
  counts[status] = (counts[status] or 0) + 1
end

function done(summary, latency)
  local failures = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  local told = ""
  for code, count in pairs(threads[1]:get("counts")) do
    told = told .. string.format(',"s%d":%d', code, count)
  end
  io.write(string.format('\nbench: {"duration_us":%d,"p50_us":%d,"p99_us":%d,"failures":%d%s}\n',
    summary.duration, latency:percentile(50), latency:percentile(99), failures, told))
end
