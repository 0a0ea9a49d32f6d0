"""What people and machines read of a search: sinks, HTTP, the report."""
