"""Models of `spec`, one module per section, and `search`, which reads a whole resource."""
