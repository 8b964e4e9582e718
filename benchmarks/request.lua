-- wrk's script: posts the body in BENCH_BODY with the key in BENCH_KEY, and prints one line of JSON at the end.
-- BENCH_DELAY_MS, if set, is the mean of a random wait before each request: a load below what the server can do.
wrk.method = "POST"
wrk.body = os.getenv("BENCH_BODY")
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer " .. (os.getenv("BENCH_KEY") or "")

local mean_ms = tonumber(os.getenv("BENCH_DELAY_MS") or "")
if mean_ms then
   -- Exponential, so that requests come as from many callers who know nothing of each other.
   function delay() return math.floor(-math.log(1 - math.random()) * mean_ms + 0.5) end
end

function done(summary, latency)
   local errors = summary.errors
   local failed = errors.connect + errors.read + errors.write + errors.status
   io.write(string.format(
      '{"requests": %d, "failed": %d, "timeouts": %d, "duration_s": %.6f, "p50_ms": %.4f, "p99_ms": %.4f}\n',
      summary.requests, failed, errors.timeout, summary.duration / 1e6,
      latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
