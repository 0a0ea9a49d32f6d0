"""Checks that the schema and its rules cannot make: references inside a spec, data arguments, a sufficient budget."""
