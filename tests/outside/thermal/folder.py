"""Thermal pictures of people's own: ROOT/{train,test}/CLASS/FILE.png."""

import numpy as np
import PIL.Image

from experiments.data.dataset import Example, array_spec
from experiments.files.features import array_feature
from experiments.files.kind import FileKind, Survey
from tests.outside.thermal.view import Thermal

EXTENSIONS = ('.png',)


def read_kelvin(path) -> np.ndarray:
  """Returns float32 `[H, W, 1]` of hundredths of a kelvin in a file."""
  with PIL.Image.open(path) as image:
    hundredths = np.asarray(image)
  if hundredths.ndim != 2 or hundredths.max(initial=0) < 256:
    raise ValueError(f'{path} is no thermal picture of 16 bits.')
  return hundredths.astype(np.float32)[..., None] / 100.0


def thermal_files(
  survey: Survey, *, height: int, width: int, mean: float | None
) -> FileKind:
  """Thermal pictures of one size; the mean is taken from training files."""
  if mean is None:
    mean = round(float(np.mean(survey(read_kelvin))), 2)

  def example(kept: Example) -> Example:
    return {'thermal': (kept['kelvin'] - np.float32(mean)) / np.float32(10.0)}

  def warmer(kept: Example, rng: np.random.Generator) -> Example:
    shifted = kept['kelvin'] + np.float32(rng.normal(0.0, 0.5))
    return example({'kelvin': shifted})

  shape = (height, width, 1)
  return FileKind(
    read=lambda path: {'kelvin': read_kelvin(path)},
    features={'kelvin': array_feature(shape, np.float32)},
    options={'kind': 'thermal', 'shape': shape},
    example={'thermal': array_spec(*shape)},
    augment=warmer,
    prepare=example,
    view=lambda each: {
      'thermal': Thermal(each['thermal'][..., 0] * 10.0 + mean)
    },
    chosen={'data.mean': mean},
    note=f'thermal: {mean} K on average, ',
  )
