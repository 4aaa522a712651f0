"""Several answers to each row of a table."""
