"""What a search says while it runs and when it ends."""
