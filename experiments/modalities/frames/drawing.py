"""Pictures of flow: the frames, the motion between them, a key to its colours.

The colours are those of `flow_colours`.
"""

from collections.abc import Sequence

import numpy as np

from experiments.modalities.frames.colours import flow_colours
from experiments.pages.pictures import enlarged

_LEAST_WIDTH = 384  # Of a frame in a picture; smaller ones are enlarged.
_KEY_SIDE = 97
_BACKGROUND = 235
# Below, nothing moves; a picture has to divide by something.
_LEAST_MOTION = 1e-6


def _side_by_side(panels: Sequence[np.ndarray]) -> np.ndarray:
  """Puts pictures of one size next to each other, small ones enlarged.

  Args:
    panels: uint8 `[H, W, 3]` each.
  """
  factor = max(1, -(-_LEAST_WIDTH // panels[0].shape[1]))
  return enlarged(np.concatenate(panels, axis=1), factor)


def _fastest(flow: np.ndarray) -> float:
  """Returns the size of the largest motion of `[..., 2]`, in pixels."""
  return max(_LEAST_MOTION, float(np.linalg.norm(flow, axis=-1).max()))


def draw_flow(frames: np.ndarray, flow: np.ndarray) -> np.ndarray:
  """Returns frame 1, frame 2 and the flow side by side, and the key.

  The fastest motion has full colour.

  Args:
    frames: uint8 `[2, H, W, 3]`.
    flow: `[H, W, 2]`, right and down, in pixels.
  """
  colours = flow_colours(flow, max_motion=_fastest(flow))
  panels = _side_by_side([*frames, colours])
  column = np.full((len(panels), _KEY_SIDE, 3), _BACKGROUND, np.uint8)
  key = draw_key(_KEY_SIDE)[: len(panels)]
  column[: len(key)] = key
  return np.concatenate([panels, column], axis=1)


def draw_key(side: int) -> np.ndarray:
  """Returns a disc with the colour of motion from its centre to each pixel.

  Args:
    side: of the picture; odd, so that the centre is a pixel.

  Returns:
    uint8 `[side, side, 3]`; its rim is the fastest motion.
  """
  axis = np.linspace(-1.0, 1.0, side)
  flow = np.stack(np.meshgrid(axis, axis), axis=-1)
  inside = np.linalg.norm(flow, axis=-1, keepdims=True) <= 1.0
  colours = flow_colours(flow, max_motion=1.0)
  return np.where(inside, colours, np.uint8(_BACKGROUND))
