"""Records: the parts of each object that the operator keeps in memory, and one search's view of them. Pure."""
