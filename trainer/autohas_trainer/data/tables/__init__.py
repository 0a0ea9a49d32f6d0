"""Data `csv`: from text to numbers, and every doubt about a column."""
