"""Answers that are the motion from one frame to the next."""
