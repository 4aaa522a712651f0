"""Checkpoints: written in the background, read back whatever became of them."""
