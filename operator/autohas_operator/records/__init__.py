"""What the operator keeps in memory of each object, and one search's view of them. Pure."""
