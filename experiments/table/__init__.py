"""A person's table: its rows, what its columns are, how its rows are split."""
