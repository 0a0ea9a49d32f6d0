"""The built-in model templates as data: one file and one row in `table` each.

The schema lists them, the operator checks a search space and expands a result with their decisions, and `autohas_trainer.templates`
maps a decision to the tensors that it slices.
"""
