"""Pairs of frames with their flow, from files, as a TFDS data set.

Files are stored as they are and decoded when they are read: PNG images, and
flow as .flo or as KITTI's images.
"""

import abc
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from experiments.data.dataset import Example, Source
from experiments.datasets.manual_downloads import manual_dir
from experiments.modalities.frames.augmentation import FramePair
from experiments.modalities.frames.files import parse_flo, parse_kitti_flow
from experiments.modalities.frames.frames import normalized
from experiments.modalities.images.augmentation import decode, encoded_shape

_PARSERS: dict[str, Callable] = {'.flo': parse_flo, '.png': parse_kitti_flow}
_FRAMES = ('frame_1', 'frame_2')


class PairFiles(NamedTuple):
  """The files of a pair.

  Attributes:
    name: of the pair, its own in the data set.
    frame_1: PNG image.
    frame_2: PNG image.
    flow: from the first frame to the second; `.flo` or KITTI's `.png`.
  """

  name: str
  frame_1: pathlib.Path
  frame_2: pathlib.Path
  flow: pathlib.Path


class FramePairsBuilder(
  tfds.core.GeneratorBasedBuilder, abc.ABC, skip_registration=True
):
  """A data set of pairs, prepared from a folder without TensorFlow.

  A subclass has a `VERSION`, and says where its files are.

  Attributes:
    FOLDER: under `downloads/manual`, that has the files.
    MANUAL_DOWNLOAD_INSTRUCTIONS: where to get them, for messages.
  """

  FOLDER: str
  MANUAL_DOWNLOAD_INSTRUCTIONS: str

  @abc.abstractmethod
  def pairs(self, folder: pathlib.Path) -> dict[str, list[PairFiles]]:
    """Returns the pairs of each split; raises a ValueError if one lacks."""

  def _info(self) -> tfds.core.DatasetInfo:
    files = {key: tfds.features.Text() for key in (*_FRAMES, 'flow')}
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        {
          **files,
          'name': tfds.features.Text(),
          'flow_format': tfds.features.Text(),
        }
      ),
      description=self.__doc__,
    )

  def _split_generators(self, dl_manager):
    pairs = self.pairs(pathlib.Path(dl_manager.manual_dir) / self.FOLDER)
    return {
      split: self._generate_examples(files) for split, files in pairs.items()
    }

  def _generate_examples(
    self, pairs: list[PairFiles]
  ) -> Iterator[tuple[str, Example]]:
    for files in pairs:
      example = {
        'name': files.name,
        'frame_1': files.frame_1.read_bytes(),
        'frame_2': files.frame_2.read_bytes(),
        'flow': files.flow.read_bytes(),
        'flow_format': files.flow.suffix,
      }
      check_pair(example)
      yield files.name, example


def open_pairs(
  builder: type[FramePairsBuilder], split: str, data_dir: str | None
) -> Source:
  """Opens a split; prepares the data set from its folder on first use.

  Args:
    builder: of the data set.
    split: a split's name.
    data_dir: where TFDS keeps prepared data; None for its own default. The
      folder is looked for in its `downloads/manual`.

  Raises:
    FileNotFoundError: neither is there; says where to get it and where to put
      it.
    ValueError: files are missing or broken.
  """
  made = builder(data_dir=data_dir, file_format='array_record')
  manual = manual_dir(
    made,
    builder.__name__,
    builder.FOLDER,
    lambda path: (
      f'{builder.MANUAL_DOWNLOAD_INSTRUCTIONS} The files belong into {path}; '
      'then run this again. '
      'experiments/configs/flow.py:embedded trains without a download.'
    ),
  )
  if manual is not None:
    made.download_and_prepare(
      download_config=tfds.download.DownloadConfig(manual_dir=manual)
    )
  return made.as_data_source(split)


def with_frames(pair: PairFiles, remedy: str) -> PairFiles:
  """Returns the pair; raises a ValueError if one of its frames is missing."""
  for frame in (pair.frame_1, pair.frame_2):
    if not frame.is_file():
      raise ValueError(f'{frame} is missing. {remedy}')
  return pair


def decode_pair(example: Example) -> FramePair:
  """Decodes a pair as it is stored.

  Raises:
    ValueError: a file is broken; the message has the pair's name.
  """
  name = _text(example['name'])
  frames = np.stack([decode(example[key], f'{name}, {key}') for key in _FRAMES])
  parse = _PARSERS[_text(example['flow_format'])]
  return FramePair(frames, *parse(example['flow'], f'{name}, flow'))


def check_pair(example: Example) -> None:
  """Raises a ValueError unless files are whole and of one size.

  Args:
    example: as it is stored.
  """
  name = _text(example['name'])
  shapes = {
    key: encoded_shape(example[key], f'{name}, {key}') for key in _FRAMES
  }
  parse = _PARSERS[_text(example['flow_format'])]
  _, valid = parse(example['flow'], f'{name}, flow')
  shapes['flow'] = valid.shape
  if len(set(shapes.values())) != 1:
    raise ValueError(
      f'{name}: frames and flow must have one size, got (height, width) '
      f'{shapes}. Copy or download them again.'
    )


def pad_pair(pair: FramePair, shape: tuple[int, int]) -> FramePair:
  """Extends a pair on the right and below to one size of all.

  Border pixels are repeated; there the flow is unknown.

  Args:
    pair: not larger than `shape`.
    shape: `(height, width)` of the result.

  Raises:
    ValueError: the pair is larger.
  """
  height, width = pair.valid.shape
  below, right = shape[0] - height, shape[1] - width
  if below < 0 or right < 0:
    raise ValueError(
      f'A pair of {height} x {width} pixels does not fit into {shape[0]} x '
      f'{shape[1]}.'
    )
  sides = ((0, below), (0, right))
  return FramePair(
    frames=np.pad(pair.frames, ((0, 0), *sides, (0, 0)), mode='edge'),
    flow=np.pad(pair.flow, (*sides, (0, 0))),
    valid=np.pad(pair.valid, sides),
  )


def flow_example(pair: FramePair) -> dict[str, Any]:
  """Returns what a model is trained on and evaluated with.

  Returns:
    `frames` float32 `[2, H, W, 3]` from -1 to 1, `flow` float32 `[H, W, 2]` in
    pixels, `valid` float32 `[H, W]`, 1 where the flow is known, else 0.
  """
  return {
    'frames': normalized(pair.frames),
    'flow': np.ascontiguousarray(pair.flow, np.float32),
    'valid': pair.valid.astype(np.float32),
  }


def _text(value: bytes | str) -> str:
  return value if isinstance(value, str) else value.decode()
