"""Answers that are texts with their blanks filled in."""
