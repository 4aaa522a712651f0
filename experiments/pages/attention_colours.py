"""Colours of attention: dark for little, over red, to pale yellow for much."""

import numpy as np

# Colours between which the others lie: the place from 0 to 255, then RGB.
RAMP = (
  (0, 18, 18, 24),
  (70, 92, 26, 70),
  (135, 200, 62, 50),
  (200, 250, 150, 40),
  (255, 255, 244, 190),
)
# Over an input, little attention is faint, not dark: the darkest colour there,
# and how much of the input the brightest hides.
_DARKEST_OVER, _MOST_OPACITY = 120, 0.85
# Behind letters, which are dark on a light page and light on a dark one.
_MARKER = (1.0, 0.51, 0.08)


def colours(levels: np.ndarray) -> np.ndarray:
  """Returns opaque RGB `[..., 3]` in [0, 1] of levels `[...]` in [0, 1]."""
  places, *channels = np.array(RAMP, np.float64).T
  return np.stack(
    [np.interp(255 * levels, places, each) / 255 for each in channels], axis=-1
  )


def overlay(levels: np.ndarray) -> np.ndarray:
  """Returns RGBA `[..., 4]` in [0, 1] to be laid over an input.

  Args:
    levels: `[...]`, from 0 to 1, see `attention_maps.levels`.
  """
  darkest = _DARKEST_OVER / 255
  rgb = colours(darkest + (1 - darkest) * levels)
  opacity = _MOST_OPACITY * levels[..., None] ** 0.7
  return np.concatenate([rgb, opacity], axis=-1)


def marker(levels: np.ndarray) -> np.ndarray:
  """Returns RGBA `[..., 4]` in [0, 1] to be laid behind text.

  Args:
    levels: see `overlay`.
  """
  rgb = np.broadcast_to(_MARKER, (*levels.shape, 3))
  return np.concatenate([rgb, levels[..., None] ** 1.5], axis=-1)
