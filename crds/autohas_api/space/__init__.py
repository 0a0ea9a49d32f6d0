"""The search space as data: the decisions of a search, and those that each template declares."""
