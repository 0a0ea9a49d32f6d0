"""The process: everything put together in one event loop, its HTTP server, and the metrics counted from the cache."""
