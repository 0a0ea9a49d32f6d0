"""Data `text` and `tokens`: windows of one long array of token numbers, in which the next token is learned."""
