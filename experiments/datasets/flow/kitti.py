"""KITTI 2015: frames seen from a driving car, with flow at some pixels.

Downloaded by hand: https://www.cvlibs.net/datasets/kitti/eval_scene_flow.php,
data_scene_flow.zip, 1.7 GB. Models trained on AutoFlow are evaluated on its
200 training pairs, whose flow is public (Perceiver IO, table 3), occluded
pixels included.
"""

import pathlib

import tensorflow_datasets as tfds

from experiments.datasets.flow.frame_pairs import (
  FramePairsBuilder,
  PairFiles,
  with_frames,
)

# The frames have 370 to 376 rows and 1,224 to 1,242 columns.
KITTI_SHAPE = (376, 1242)
_PAIRS = 200


class KittiFlow(FramePairsBuilder):
  """200 pairs of frames of KITTI 2015 with flow at some of the pixels."""

  VERSION = tfds.core.Version('1.0.0')
  FOLDER = 'data_scene_flow'
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    'Download data_scene_flow.zip (1.7 GB) of '
    'https://www.cvlibs.net/datasets/kitti/eval_scene_flow.php and unpack it.'
  )

  def pairs(self, folder: pathlib.Path) -> dict[str, list[PairFiles]]:
    """See `FramePairsBuilder`: training/image_2/000000_10.png and _11.png,
    training/flow_occ/000000_10.png.

    Raises:
      ValueError: there are not 200 files of flow, or a frame is missing.
    """
    training = folder / 'training'
    flows = sorted((training / 'flow_occ').glob('??????_10.png'))
    if len(flows) != _PAIRS:
      raise ValueError(
        f'{training}/flow_occ should have {_PAIRS} files such as '
        f'000000_10.png, and has {len(flows)}. '
        f'{self.MANUAL_DOWNLOAD_INSTRUCTIONS}'
      )
    return {
      'train': [self._files(training / 'image_2', flow) for flow in flows]
    }

  def _files(self, frames: pathlib.Path, flow: pathlib.Path) -> PairFiles:
    number = flow.stem.removesuffix('_10')
    pair = PairFiles(
      name=number,
      frame_1=frames / f'{number}_10.png',
      frame_2=frames / f'{number}_11.png',
      flow=flow,
    )
    return with_frames(pair, self.MANUAL_DOWNLOAD_INSTRUCTIONS)
