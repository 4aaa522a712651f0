"""What autoencoders of video and sound tell of a film, from its clips."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.answers.classes.value import class_names, tell_classes
from experiments.answers.reconstruction.metrics import decibels
from experiments.answers.reconstruction.value import Reconstruction
from experiments.data.dataset import DataSpec, Example
from experiments.data.modality import View
from experiments.modalities.sound.view import Sound
from experiments.modalities.video.view import Video


def tell_clips(
  data: DataSpec, peaks: Mapping[str, float]
) -> Callable[[Sequence[Any], Sequence[Example]], Reconstruction]:
  """Returns what puts the clips of a film together again.

  Args:
    data: what clips look like.
    peaks: see `metrics.reconstruction_psnr`; what is reconstructed besides
      is a class.
  """

  def tell(
    predictions: Sequence[Mapping[str, np.ndarray]], examples: Sequence[Example]
  ) -> Reconstruction:
    originals = [data.view(each) for each in examples]
    made = [
      data.view({**example, **prediction})
      for example, prediction in zip(examples, predictions, strict=True)
    ]
    ratios, classes = {}, None
    for name in predictions[0]:
      parts = [each[name] for each in predictions]
      if name in peaks:
        error = _squared_error(parts, [each[name] for each in examples])
        ratios[name] = decibels(peaks[name] ** 2) - decibels(error)
      else:
        tell_label = tell_classes(class_names(data), jax.nn.softmax)
        classes = tell_label(parts, examples)
    return Reconstruction(
      original={name: _joined(originals, name) for name in ratios},
      reconstruction={name: _joined(made, name) for name in ratios},
      decibels=ratios,
      classes=classes,
    )

  return tell


def _squared_error(
  predicted: Sequence[np.ndarray], wanted: Sequence[np.ndarray]
) -> float:
  """Returns the mean over all values of all clips, which are of one size."""
  errors = [
    np.square(x.reshape(-1) - y.reshape(-1)).mean()
    for x, y in zip(predicted, wanted, strict=True)
  ]
  return float(np.mean(errors, dtype=np.float64))


def _joined(clips: Sequence[Mapping[str, View]], name: str) -> View:
  """Returns one view of those of clips that follow each other."""
  views = [clip[name] for clip in clips]
  match views[0]:
    case Video(_, rate):
      return Video(np.concatenate([view.frames for view in views]), rate)
    case Sound(_, rate):
      return Sound(np.concatenate([view.samples for view in views]), rate)
  raise TypeError(f'Views of type {type(views[0]).__name__} do not join.')
