"""What crosses from trainer to operator and into `status`: messages, the status itself, and the result in names."""
