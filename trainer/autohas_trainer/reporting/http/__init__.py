"""GET /progress, /metrics and /healthz of a running trainer."""
