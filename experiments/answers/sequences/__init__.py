"""Answers that are a class or a number for each element of a sequence."""
