"""Parts of models by the names that configs give them."""

from collections.abc import Mapping
from typing import Any

from experiments.host.configuration import choose, construct
from experiments.modalities import senses
from perceiver_jax.frame_preprocessors import FrameConvStem, FramePatches
from perceiver_jax.multimodal import Multimodal
from perceiver_jax.position_encoding import (
  FourierPositions,
  LearnedPositions,
  PositionEncoding,
  ProjectedPositions,
)
from perceiver_jax.postprocessors import (
  AudioSamples,
  ClassLogits,
  PixelPatches,
  PixelValues,
)
from perceiver_jax.preprocessors import OneHot, Preprocessor
from perceiver_jax.queries import GridQueries, LearnedQueries

Section = Mapping[str, Any]


def _projected_learned(
  *, num_channels: int, projected_channels: int, init_stddev: float
) -> ProjectedPositions:
  """Learned positions through a linear layer."""
  return ProjectedPositions(
    positions=LearnedPositions(
      num_channels=num_channels, init_stddev=init_stddev
    ),
    num_channels=projected_channels,
  )


_POSITIONS = {
  'fourier': FourierPositions,
  'learned': LearnedPositions,
  'projected_learned': _projected_learned,
  'none': lambda: None,
}
_FRAME_PREPROCESSORS = {
  'frame_patches': FramePatches,
  'frame_conv_stem': FrameConvStem,
}
_QUERIES = {'grid': GridQueries, 'learned': LearnedQueries}
_POSTPROCESSORS = {
  'audio_samples': AudioSamples,
  'pixel_values': PixelValues,
  'pixel_patches': PixelPatches,
  'class_logits': ClassLogits,
}


def make_preprocessor(inputs: Section, packing: Section | None) -> Preprocessor:
  """Returns the preprocessor of one modality, or of several together.

  Args:
    inputs: a section for each modality.
    packing: arguments of `Multimodal`, when there are several.
  """
  # A label belongs to no sense.
  known = {**senses.preprocessors(), 'one_hot': OneHot}
  preprocessors = {
    modality: _with_positions(f'inputs.{modality}', known, section)
    for modality, section in inputs.items()
  }
  if packing is None:
    (preprocessor,) = preprocessors.values()
    return preprocessor
  return construct(
    'packing', Multimodal, packing, given={'preprocessors': preprocessors}
  )


def make_frame_preprocessor(section: Section) -> Preprocessor:
  """Returns a preprocessor of pairs of frames."""
  return _with_positions('preprocessor', _FRAME_PREPROCESSORS, section)


def make_queries(queries: Section) -> dict[str, GridQueries | LearnedQueries]:
  """Returns the output queries of each modality."""
  return {
    modality: _with_positions(f'queries.{modality}', _QUERIES, section)
    for modality, section in queries.items()
  }


def make_postprocessors(postprocessors: Section) -> dict[str, Any]:
  """Returns the postprocessor of each modality."""
  return {
    modality: choose(f'postprocessors.{modality}', _POSTPROCESSORS, section)
    for modality, section in postprocessors.items()
  }


def _with_positions(path: str, constructors: Mapping, section: Section) -> Any:
  """Chooses a part; its positions, if it has any, are a section inside."""
  section, given = dict(section), {}
  positions: PositionEncoding | None
  if 'positions' in section:
    positions = choose(
      f'{path}.positions', _POSITIONS, section.pop('positions')
    )
    given['positions'] = positions
  return choose(path, constructors, section, given=given)
