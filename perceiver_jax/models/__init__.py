"""Whole models, wired from the parts."""

from perceiver_jax.models.any_to_any import AnyToAny, Output
from perceiver_jax.models.autoencoder import MultimodalAutoencoder
from perceiver_jax.models.classifier import PerceiverClassifier
from perceiver_jax.models.entities import EntityEncoder
from perceiver_jax.models.io_classifier import PerceiverIOClassifier
from perceiver_jax.models.language import MaskedLanguageModel, TextClassifier
from perceiver_jax.models.optical_flow import OpticalFlow

__all__ = [
  'AnyToAny',
  'EntityEncoder',
  'MaskedLanguageModel',
  'MultimodalAutoencoder',
  'OpticalFlow',
  'Output',
  'PerceiverClassifier',
  'PerceiverIOClassifier',
  'TextClassifier',
]
