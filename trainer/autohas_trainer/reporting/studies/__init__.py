"""The history of a search as studies of Optuna, which Optuna's own tools and optuna-dashboard read."""
