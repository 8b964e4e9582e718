-- wrk's script: posts the body in BENCH_BODY with the key in BENCH_KEY, and prints one line of JSON at the end.
wrk.method = "POST"
wrk.body = os.getenv("BENCH_BODY")
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer " .. (os.getenv("BENCH_KEY") or "")

function done(summary, latency)
   local errors = summary.errors
   local failed = errors.connect + errors.read + errors.write + errors.status
   io.write(string.format(
      '{"requests": %d, "failed": %d, "timeouts": %d, "duration_s": %.6f, "p50_ms": %.4f, "p99_ms": %.4f}\n',
      summary.requests, failed, errors.timeout, summary.duration / 1e6,
      latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
