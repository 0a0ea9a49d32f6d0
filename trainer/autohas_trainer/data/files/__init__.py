"""Files as people send them: text, gzip, and where a path leads."""
