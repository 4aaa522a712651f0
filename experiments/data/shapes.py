"""What an example is, for data sets without an input pipeline here.

Enough to describe a published model, and to import and apply its weights.
Arguments are those that shape an example; opening such a data set is an error
that says so.
"""

import numpy as np

from experiments.data.pipeline import Dataset, DataSpec, array_spec


def audioset(
  data_dir: str | None,
  *,
  num_frames: int,
  image_size: int,
  num_samples: int,
) -> DataSpec:
  """AudioSet (Perceiver, section 4.2): 1.28 s of video and sound.

  Args:
    data_dir: not read.
    num_frames: of video, at 25 a second.
    image_size: side of a frame in pixels.
    num_samples: of sound, at 48 kHz.
  """
  del data_dir
  example = {
    'audio': array_spec(num_samples),
    'video': array_spec(num_frames, image_size, image_size, 3),
    'label': array_spec(527),
  }
  return _without_pipeline('audioset', example, num_classes=527)


def masked_text(data_dir: str | None, *, length: int) -> DataSpec:
  """Text with masked words (Perceiver IO, appendix F.3).

  Args:
    data_dir: not read.
    length: tokens of an example.
  """
  del data_dir
  return _without_pipeline('masked_text', _tokens(length))


def glue(data_dir: str | None, *, length: int) -> DataSpec:
  """The eight tasks of GLUE (Perceiver IO, appendix F.4).

  Args:
    data_dir: not read.
    length: tokens of an example.
  """
  del data_dir
  return _without_pipeline('glue', _tokens(length))


def frame_pairs(data_dir: str | None, *, height: int, width: int) -> DataSpec:
  """Two frames and the motion between them (Perceiver IO, appendix H).

  Args:
    data_dir: not read.
    height: of a frame, in pixels.
    width: of a frame, in pixels.
  """
  del data_dir
  example = {
    'frames': array_spec(2, height, width, 3),
    'flow': array_spec(height, width, 2),
  }
  return _without_pipeline('frame_pairs', example)


def kinetics(
  data_dir: str | None,
  *,
  num_frames: int,
  image_size: int,
  num_samples: int,
  audio_points: int,
  image_points: int,
) -> DataSpec:
  """Kinetics-700 (Perceiver IO, appendix I): video, sound, label.

  Args:
    data_dir: not read.
    num_frames: of video, at 25 a second.
    image_size: side of a frame in pixels.
    num_samples: of sound, at 48 kHz.
    audio_points: patches of sound to reconstruct in training.
    image_points: pixels to reconstruct in training.
  """
  del data_dir
  example = {
    'audio': array_spec(num_samples),
    'image': array_spec(num_frames, image_size, image_size, 3),
    'label': array_spec(dtype=np.int32),
    'output_points': {
      'audio': array_spec(audio_points, dtype=np.int32),
      'image': array_spec(image_points, dtype=np.int32),
    },
  }
  return _without_pipeline('kinetics', example, num_classes=700)


def starcraft(data_dir: str | None, *, num_entities: int) -> DataSpec:
  """Units of a StarCraft II game (Perceiver IO, appendix B).

  Args:
    data_dir: not read.
    num_entities: 512 slots in the paper.
  """
  del data_dir
  example = {
    'entities': array_spec(num_entities, 256),
    'mask': array_spec(num_entities, dtype=np.bool_),
  }
  return _without_pipeline('starcraft', example)


def _tokens(length: int) -> dict:
  return {
    'tokens': array_spec(length, dtype=np.int32),
    'mask': array_spec(length, dtype=np.bool_),
  }


def _without_pipeline(
  name: str, example: dict, num_classes: int | None = None
) -> DataSpec:
  def load() -> Dataset:
    raise ValueError(
      f'There is no input pipeline for the data {name!r} yet: its model can be '
      'described (experiments.describe) and published weights can be imported '
      '(experiments.import_weights), but it cannot be trained or evaluated.'
    )

  return DataSpec(example=example, num_classes=num_classes, load=load)
