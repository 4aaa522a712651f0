"""RandAugment (arXiv 1909.13719) on uint8 images.

Images are uint8 RGB arrays `[H, W, 3]`. The ops, their scales and how they are
drawn are those of the released Perceiver training code (Perceiver, section
4.1; Perceiver IO, appendix A.1: 4 layers of magnitude 5).
"""

import typing

import cv2
import numpy as np

FILL = 128  # grey that is put where an op leaves no image
_MAX_MAGNITUDE = 10


# The ops: each maps an image to a new image of the same size.


def auto_contrast(image: np.ndarray) -> np.ndarray:
  """Stretches each channel linearly to the full range."""
  table = np.tile(np.arange(256.0)[:, None], 3)  # [256, 3]
  for c, counts in enumerate(_histograms(image)):
    low, high = np.flatnonzero(counts)[[0, -1]]
    if high > low:
      scale = 255 / (high - low)
      table[:, c] = np.clip(table[:, c] * scale - low * scale, 0, 255)
  return _map_values(image, table)


def equalize(image: np.ndarray) -> np.ndarray:
  """Flattens each channel's histogram, with Pillow's rounding."""
  table = np.tile(np.arange(256)[:, None], 3)  # [256, 3]
  for c, counts in enumerate(_histograms(image)):
    step = (counts.sum() - counts[np.flatnonzero(counts)[-1]]) // 255
    if step:
      below = np.cumsum(counts) - counts
      table[:, c] = np.minimum((below + step // 2) // step, 255)
  return _map_values(image, table)


def invert(image: np.ndarray) -> np.ndarray:
  """Returns the negative."""
  return cv2.bitwise_not(image)


def posterize(image: np.ndarray, bits: int) -> np.ndarray:
  """Keeps the highest `bits` bits of each value, and at least one.

  (Of none, TensorFlow's shift by 8 is one by 7.)
  """
  return image & np.uint8(256 - (1 << (8 - max(bits, 1))))


def solarize(image: np.ndarray, threshold: int) -> np.ndarray:
  """Inverts the values from `threshold` on."""
  values = np.arange(256)
  return _map_values(image, np.where(values < threshold, values, 255 - values))


def solarize_add(image: np.ndarray, addition: int) -> np.ndarray:
  """Adds to the values below 128."""
  values = np.arange(256)
  brighter = np.clip(values + addition, 0, 255)
  return _map_values(image, np.where(values < 128, brighter, values))


def color(image: np.ndarray, factor: float) -> np.ndarray:
  """Changes saturation: 0 is greyscale, 1 the image itself."""
  grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
  return _blend(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), image, factor)


def contrast(image: np.ndarray, factor: float) -> np.ndarray:
  """Changes contrast: 0 is the mean grey, 1 the image itself.

  (The released code blends with its histogram's mean count, not the mean grey;
  the two differ only where `factor` is not 1.)
  """
  grey = round(float(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).mean()))
  return _blend(np.full_like(image, grey), image, factor)


def brightness(image: np.ndarray, factor: float) -> np.ndarray:
  """Changes brightness: 0 is black, 1 the image itself."""
  return _blend(np.zeros_like(image), image, factor)


def sharpness(image: np.ndarray, factor: float) -> np.ndarray:
  """Changes sharpness: 0 is a 3 x 3 blur, 1 the image itself."""
  kernel = np.float32([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
  smooth = image.copy()  # the border stays as it is
  smooth[1:-1, 1:-1] = cv2.filter2D(image, -1, kernel)[1:-1, 1:-1]
  return _blend(smooth, image, factor)


def rotate(image: np.ndarray, degrees: float) -> np.ndarray:
  """Rotates anticlockwise about the centre."""
  height, width = image.shape[:2]
  centre = ((width - 1) / 2, (height - 1) / 2)
  matrix = cv2.getRotationMatrix2D(centre, -degrees, 1.0)
  return _warp(image, matrix)


def shear_x(image: np.ndarray, slope: float) -> np.ndarray:
  """Row y of the result is row y of the image from column `slope * y` on."""
  return _warp(image, np.array([[1, slope, 0], [0, 1, 0]], np.float64))


def shear_y(image: np.ndarray, slope: float) -> np.ndarray:
  """Column x of the result is column x of the image from row `slope * x` on."""
  return _warp(image, np.array([[1, 0, 0], [slope, 1, 0]], np.float64))


def translate_x(image: np.ndarray, pixels: float) -> np.ndarray:
  """Moves the image to the left."""
  return _warp(image, np.array([[1, 0, pixels], [0, 1, 0]], np.float64))


def translate_y(image: np.ndarray, pixels: float) -> np.ndarray:
  """Moves the image upwards."""
  return _warp(image, np.array([[1, 0, 0], [0, 1, pixels]], np.float64))


def cutout(image: np.ndarray, y: int, x: int, half_side: int) -> np.ndarray:
  """Greys a square around pixel (y, x), cut off at the image's edges."""
  result = image.copy()
  rows = slice(max(0, y - half_side), y + half_side)
  result[rows, max(0, x - half_side) : x + half_side] = FILL
  return result


def _histograms(image: np.ndarray) -> np.ndarray:
  """Counts values: int `[3, 256]`, a row for each channel."""
  counts = [
    cv2.calcHist([image], [c], None, [256], [0, 256]).ravel() for c in range(3)
  ]
  return np.array(counts, np.int64)  # exact: float32 counts below 2**24


def _map_values(image: np.ndarray, table: np.ndarray) -> np.ndarray:
  """Looks values up in `[256]` or, per channel, `[256, 3]` (truncated)."""
  return cv2.LUT(image, table.astype(np.uint8)[None])


def _blend(start: np.ndarray, end: np.ndarray, factor: float) -> np.ndarray:
  """Goes from `start` to `end` and beyond: (1 - factor) start + factor end."""
  return cv2.addWeighted(start, 1 - factor, end, factor, 0)


def _warp(image: np.ndarray, to_source: np.ndarray) -> np.ndarray:
  """Takes pixel (x, y) from `to_source @ (x, y, 1)`, nearest, or grey."""
  return cv2.warpAffine(
    image,
    to_source,
    image.shape[1::-1],
    flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
    borderValue=(FILL,) * 3,
  )


class _Draw(typing.NamedTuple):
  """What one layer of RandAugment drew."""

  level: float  # 0 to 1
  sign: int  # -1 or 1
  pixel_scale: float
  centre: tuple[float, float]  # y and x, each a share of the side


def _enhance(draw: _Draw) -> float:
  return 0.1 + 1.8 * draw.level  # 1, no change, at magnitude 5


def _pixels(draw: _Draw) -> float:
  return 100 * draw.level * draw.sign * draw.pixel_scale


def _cutout(image: np.ndarray, draw: _Draw) -> np.ndarray:
  y, x = (int(c * n) for c, n in zip(draw.centre, image.shape, strict=False))
  return cutout(image, y, x, int(40 * draw.level * draw.pixel_scale))


RANDAUGMENT_OPS = {
  'AutoContrast': lambda image, draw: auto_contrast(image),
  'Equalize': lambda image, draw: equalize(image),
  'Invert': lambda image, draw: invert(image),
  'Rotate': lambda image, draw: rotate(image, 30 * draw.level * draw.sign),
  'Posterize': lambda image, draw: posterize(image, int(4 * draw.level)),
  'Solarize': lambda image, draw: solarize(image, int(256 * draw.level)),
  'SolarizeAdd': lambda image, draw: solarize_add(image, int(110 * draw.level)),
  'Color': lambda image, draw: color(image, _enhance(draw)),
  'Contrast': lambda image, draw: contrast(image, _enhance(draw)),
  'Brightness': lambda image, draw: brightness(image, _enhance(draw)),
  'Sharpness': lambda image, draw: sharpness(image, _enhance(draw)),
  'ShearX': lambda image, draw: shear_x(image, 0.3 * draw.level * draw.sign),
  'ShearY': lambda image, draw: shear_y(image, 0.3 * draw.level * draw.sign),
  'TranslateX': lambda image, draw: translate_x(image, _pixels(draw)),
  'TranslateY': lambda image, draw: translate_y(image, _pixels(draw)),
  'Cutout': _cutout,
}


def randaugment(
  image: np.ndarray,
  rng: np.random.Generator,
  *,
  num_layers: int,
  magnitude: float,
  pixel_scale: float = 1.0,
) -> np.ndarray:
  """Applies RandAugment (arXiv 1909.13719) as the released code does.

  Each layer applies one of the 16 ops, all equally likely, always (no chance
  of doing nothing), at the same magnitude. The papers use 4 layers at
  magnitude 5; at 5 exactly, Color, Contrast, Brightness and Sharpness have
  factor 1 and change nothing.

  Args:
    image: uint8 `[H, W, 3]`.
    rng: source of randomness.
    num_layers: ops applied one after the other.
    magnitude: 0 to 10, the strength of every op that has one.
    pixel_scale: multiplies lengths given in pixels (translations, Cutout);
      1/reduction for an image decoded at reduced scale.

  Raises:
    ValueError: the magnitude is not in 0..10.
  """
  if not 0 <= magnitude <= _MAX_MAGNITUDE:
    raise ValueError(
      f'magnitude is {magnitude}; expected 0 to {_MAX_MAGNITUDE} (5 in the'
      ' papers).'
    )
  ops = tuple(RANDAUGMENT_OPS.values())
  for index in rng.integers(len(ops), size=num_layers):
    sign = 1 if rng.random() < 0.5 else -1
    centre = (rng.random(), rng.random())
    level = magnitude / _MAX_MAGNITUDE
    image = ops[index](image, _Draw(level, sign, pixel_scale, centre))
  return image
