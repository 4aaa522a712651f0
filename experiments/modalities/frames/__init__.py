"""Pairs of frames, and the motion between them."""
