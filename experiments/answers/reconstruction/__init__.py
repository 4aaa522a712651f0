"""Answers that are the inputs, made again."""
