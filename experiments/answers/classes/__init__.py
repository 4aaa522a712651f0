"""Answers that are classes: one of them, or any number."""
