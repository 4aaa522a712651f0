"""Answers that are an embedding of each entity."""
