"""The engine: stages, checkpoints, and what an algorithm may ask of the weights."""
