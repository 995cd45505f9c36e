-- For wrk: sends the file $BODY with the lines $HEADERS; prints the fields of a Load as JSON.
local file = io.open(os.getenv("BODY"), "rb")
wrk.method, wrk.body = "POST", file:read("*a")
for name, value in os.getenv("HEADERS"):gmatch("([^\n:]+): ([^\n]+)") do
  wrk.headers[name] = value
end

function done(summary, latency)
  -- Latencies by rank, as many as there are answers: wrk keeps them as a distribution.
  local answers, took = summary.requests - summary.errors.status, {}
  for i = 1, answers do
    took[i] = latency:percentile(100 * (i - 0.5) / answers) / 1e6
  end
  io.write(string.format('{"seconds": %f, "refused": %d, "took": [%s]}\n',
    summary.duration / 1e6, summary.errors.status, table.concat(took, ", ")))
end
