"""The process: assembles the operator in one event loop, serves HTTP, and exports metrics of searches from the cache."""
