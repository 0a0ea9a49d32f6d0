"""The two ways in: `autohas` for people (app) and the container's entry point (container). Torch is loaded late."""
