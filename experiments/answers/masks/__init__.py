"""Answers that are the class of each pixel of an image."""
