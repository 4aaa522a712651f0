"""Columns and rows of a table, as a task takes them."""
