"""A run: what its config comes to, its evaluation, and what was trained."""
