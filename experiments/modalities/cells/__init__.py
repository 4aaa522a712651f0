"""Cells of a table as a sense: numbers, categories, dates, lists."""
