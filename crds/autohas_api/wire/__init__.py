"""Messages from the trainer to the operator, the status, and the conversion of a result."""
