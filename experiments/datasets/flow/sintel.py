"""MPI Sintel: frames of a film made by computers, with exact flow.

Downloaded by hand: http://sintel.is.tue.mpg.de, MPI-Sintel-complete.zip, 5.3
GB. Models trained on AutoFlow are evaluated on its training scenes, whose flow
is public (Perceiver IO, table 3): 1,041 pairs, rendered in two passes.
"""

import pathlib

import tensorflow_datasets as tfds

from experiments.datasets.flow.frame_pairs import (
  FramePairsBuilder,
  PairFiles,
  with_frames,
)

SINTEL_SHAPE = (436, 1024)
_PASSES = ('clean', 'final')
_PAIRS = 1041


class Sintel(FramePairsBuilder):
  """1,041 pairs of frames of 23 scenes of MPI Sintel, in two passes."""

  VERSION = tfds.core.Version('1.0.0')
  FOLDER = 'MPI-Sintel-complete'
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    'Download http://files.is.tue.mpg.de/sintel/MPI-Sintel-complete.zip '
    '(5.3 GB) and unpack it.'
  )

  def pairs(self, folder: pathlib.Path) -> dict[str, list[PairFiles]]:
    """See `FramePairsBuilder`: training/{clean,final}/SCENE/frame_0001.png,
    training/flow/SCENE/frame_0001.flo.

    Raises:
      ValueError: there are not 1,041 files of flow, or a frame is missing.
    """
    training = folder / 'training'
    flows = sorted((training / 'flow').glob('*/frame_????.flo'))
    if len(flows) != _PAIRS:
      raise ValueError(
        f'{training}/flow should have {_PAIRS:,} files SCENE/frame_0001.flo, '
        f'and has {len(flows):,}. {self.MANUAL_DOWNLOAD_INSTRUCTIONS}'
      )
    return {
      name: [_files(training / name, flow) for flow in flows]
      for name in _PASSES
    }


def _files(frames: pathlib.Path, flow: pathlib.Path) -> PairFiles:
  """The pair whose flow this is; raises a ValueError if a frame is missing."""
  scene, number = flow.parent.name, int(flow.stem.removeprefix('frame_'))
  pair = PairFiles(
    name=f'{scene}/{flow.stem}',
    frame_1=frames / scene / f'{flow.stem}.png',
    frame_2=frames / scene / f'frame_{number + 1:04d}.png',
    flow=flow,
  )
  return with_frames(pair, Sintel.MANUAL_DOWNLOAD_INSTRUCTIONS)
