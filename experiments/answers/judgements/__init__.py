"""Answers that judge texts, several tasks at a time."""
