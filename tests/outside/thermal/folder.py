"""Thermal pictures of people's own: ROOT/{train,test}/CLASS/FILE.png."""

from collections.abc import Sequence

import numpy as np
import PIL.Image

from experiments.data.dataset import DataSpec, Example, array_spec
from experiments.files.features import array_feature
from experiments.files.folder_builder import FileKind, folder_data
from experiments.files.listing import files_note, list_folder, survey
from tests.outside.thermal.view import Thermal

EXTENSIONS = ('.png',)


def read_kelvin(path) -> np.ndarray:
  """Returns float32 `[H, W, 1]` of hundredths of a kelvin in a file."""
  with PIL.Image.open(path) as image:
    hundredths = np.asarray(image)
  if hundredths.ndim != 2 or hundredths.max(initial=0) < 256:
    raise ValueError(f'{path} is no thermal picture of 16 bits.')
  return hundredths.astype(np.float32)[..., None] / 100.0


def thermal_folder(
  data_dir: str | None,
  *,
  root: str,
  classes: Sequence[str] | None,
  height: int,
  width: int,
  mean: float | None,
  skip_unreadable: bool,
) -> DataSpec:
  """Thermal pictures of one size; the mean is taken from training files."""
  note = ''
  if None in (classes, mean):
    folder = list_folder(root, EXTENSIONS, classes)
    kelvin = survey(
      folder.files['train'], read_kelvin, skip_unreadable=skip_unreadable
    )
    classes, mean = folder.classes, round(float(np.mean(kelvin)), 2)
    note = f'thermal: {mean} K on average, {files_note(folder)}'

  def example(kept: Example) -> Example:
    return {'thermal': (kept['kelvin'] - np.float32(mean)) / np.float32(10.0)}

  def warmer(kept: Example, rng: np.random.Generator) -> Example:
    shifted = kept['kelvin'] + np.float32(rng.normal(0.0, 0.5))
    return example({'kelvin': shifted})

  shape = (height, width, 1)
  return folder_data(
    FileKind(
      EXTENSIONS,
      read=lambda path: {'kelvin': read_kelvin(path)},
      features={'kelvin': array_feature(shape, np.float32)},
      options={'kind': 'thermal', 'shape': shape},
      augment=warmer,
      prepare=example,
      view=lambda each: {
        'thermal': Thermal(each['thermal'][..., 0] * 10.0 + mean)
      },
    ),
    example={'thermal': array_spec(*shape)},
    root=root,
    classes=classes,
    skip_unreadable=skip_unreadable,
    data_dir=data_dir,
    chosen={'data.mean': mean},
    note=note,
  )
