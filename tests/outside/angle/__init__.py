"""Answers that are an angle."""
