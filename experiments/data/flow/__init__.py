"""Pairs of frames with known motion: data sets, files, augmentation."""
