"""The search itself: one training that chooses hyperparameters and architecture together."""
