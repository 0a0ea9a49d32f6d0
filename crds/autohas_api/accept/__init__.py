"""What the schema and its rules cannot check: references inside a spec, data arguments, a budget that suffices."""
