"""Answers that are the next steps of a series."""
