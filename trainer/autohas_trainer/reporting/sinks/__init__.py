"""Where the engine's events go: history, files, logs, the terminal, and the snapshot that HTTP serves."""
