"""Whole models, wired from the parts."""

from perceiver_jax.models.classifier import PerceiverClassifier

__all__ = ['PerceiverClassifier']
