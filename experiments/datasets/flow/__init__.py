"""Data sets of pairs of frames with the motion between them."""
