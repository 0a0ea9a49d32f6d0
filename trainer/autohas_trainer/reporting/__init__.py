"""Everything that users and machines read of a search: files, logs, terminal, HTTP, the report."""
