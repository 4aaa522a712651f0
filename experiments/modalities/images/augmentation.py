"""Images on the host: decode, crop, flip, resize, normalise, small warps.

Images are uint8 RGB arrays `[H, W, 3]` with values 0..255 unless a docstring
says otherwise. Every random choice comes from the `np.random.Generator` that
the caller hands in, so an example depends on its seed alone.

The recipe is that of the released Perceiver training code (Perceiver, section
4.1; Perceiver IO, appendix A.1). OpenCV decodes and warps, 1.3 and 2 times as
fast as Pillow, but resizing is TensorFlow's. Pillow only reads the size in an
image's header, which OpenCV cannot do alone.
"""

import functools
import io
import math
import typing

import cv2
import numpy as np
import PIL.Image
import scipy.sparse

# The data loader runs one example a thread or process. OpenCV's own threads
# would only compete with those, and do not survive a fork.
cv2.setNumThreads(0)

CROP_AREA = (0.08, 1.0)  # share of the image's area
CROP_ASPECT = (3 / 4, 4 / 3)  # width / height
CROP_LEAST_COVERED = 0.1  # share of the image that a crop must keep
CROP_ATTEMPTS = 10
CUBIC_A = -0.5  # of Keys' kernel
_STEPS = 1024  # from pixel to pixel, of TensorFlow's table of that kernel
CENTRE_CROP = 224 / 256  # side of the centre crop / short side of the image
MEAN_RGB = 255 * np.array([0.485, 0.456, 0.406], np.float32)
STDDEV_RGB = 255 * np.array([0.229, 0.224, 0.225], np.float32)
# Weights of red, green and blue in the luminance (ITU-R BT.601).
LUMINANCE = np.array([0.299, 0.587, 0.114])

_DECODE_FLAGS = {
  1: cv2.IMREAD_COLOR,
  2: cv2.IMREAD_REDUCED_COLOR_2,
  4: cv2.IMREAD_REDUCED_COLOR_4,
  8: cv2.IMREAD_REDUCED_COLOR_8,
}


class Box(typing.NamedTuple):
  """A crop in pixels of the whole image; `top` and `left` are inclusive."""

  top: int
  left: int
  height: int
  width: int


# Decoding.


def encoded_shape(encoded: bytes, name: str) -> tuple[int, int]:
  """Returns (height, width) from the header of an encoded image.

  Args:
    encoded: a JPEG or PNG file.
    name: the record's name, for the error message.

  Raises:
    ValueError: the bytes do not begin like an image.
  """
  try:
    file = io.BytesIO(encoded)
    width, height = PIL.Image.open(file, formats=('JPEG', 'PNG')).size
  except (OSError, SyntaxError) as error:
    raise ValueError(_undecodable(encoded, name)) from error
  return height, width


def decode(encoded: bytes, name: str, reduction: int = 1) -> np.ndarray:
  """Decodes a JPEG or PNG file, whatever its colour space, to RGB.

  Greyscale becomes three equal channels, CMYK is converted, transparency is
  dropped. An EXIF orientation is ignored: the labels and the papers' results
  belong to the images as stored.

  Args:
    encoded: the file's bytes.
    name: the record's name, for the error message.
    reduction: 1, 2, 4 or 8; both sides of the result are divided by it. For a
      JPEG the decoder leaves out high frequencies, which costs less than
      decoding and shrinking.

  Returns:
    uint8 `[height / reduction, width / reduction, 3]`, sides rounded up (JPEG).

  Raises:
    ValueError: the bytes are not a whole image.
  """
  flags = _DECODE_FLAGS[reduction] | cv2.IMREAD_IGNORE_ORIENTATION
  array = np.frombuffer(encoded, np.uint8)
  image = cv2.imdecode(array, flags) if array.size else None
  if image is None:
    raise ValueError(_undecodable(encoded, name))
  return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def decode_crop(
  encoded: bytes, box: Box, min_side: int, name: str
) -> tuple[np.ndarray, int]:
  """Decodes the part of an image inside `box`, at reduced scale if it is big.

  Args:
    encoded: a JPEG or PNG file.
    box: the part wanted, in pixels of the whole image.
    min_side: the largest reduction is taken that leaves both sides of the crop
      at least this long; none if the crop is smaller already.
    name: the record's name, for error messages.

  Returns:
    uint8 `[box.height / reduction, box.width / reduction, 3]` and the reduction
    (1, 2, 4 or 8). With a reduction, edges move by at most half a pixel of the
    result.

  Raises:
    ValueError: the bytes are not a whole image, or the box lies outside it.
  """
  short_side = min(box.height, box.width)
  reduction = max(
    r for r in _DECODE_FLAGS if r == 1 or short_side >= r * min_side
  )
  image = decode(encoded, name, reduction)
  # Nearest edges, halves upwards: two edges `min_side * reduction` apart then
  # stay `min_side` apart.
  top, left, bottom, right = (
    (edge + reduction // 2) // reduction
    for edge in (box.top, box.left, box.top + box.height, box.left + box.width)
  )
  height, width = image.shape[:2]
  if not (0 <= top < bottom <= height and 0 <= left < right <= width):
    raise ValueError(
      f'{name}: {box} does not lie in the image, which has {height} x {width}'
      f' pixels at reduction {reduction}; make the box from `encoded_shape`.'
    )
  return image[top:bottom, left:right], reduction


def _undecodable(encoded: bytes, name: str) -> str:
  return (
    f'{name}: {len(encoded)} bytes beginning {encoded[:8]!r} are not a whole'
    ' JPEG or PNG image. Prepare the data set again, or leave this record out.'
  )


# Cropping, resizing and normalising.


def sample_crop(height: int, width: int, rng: np.random.Generator) -> Box:
  """Draws an Inception crop as TensorFlow's sample_distorted_bounding_box.

  The aspect ratio is uniform (not log-uniform), then the crop's height is
  uniform over all that fit (so small areas are likelier than with a uniform
  area). The released code asks for an area of at least 0.08 and for at least
  0.1 of the image to be covered: the second rules. When no attempt succeeds,
  which takes a very long image, the result is the centre crop.

  Args:
    height: of the image, in pixels.
    width: of the image, in pixels.
    rng: source of randomness.
  """
  for _ in range(CROP_ATTEMPTS):
    aspect = rng.uniform(*CROP_ASPECT)
    shortest, tallest = (
      round(math.sqrt(share * height * width / aspect)) for share in CROP_AREA
    )
    widest = math.ceil((width + 0.5) / aspect) - 1  # Rounds to `width` at most.
    tallest = min(tallest, height, widest)
    crop_height = int(rng.integers(min(shortest, tallest), tallest + 1))
    crop_width = round(crop_height * aspect)
    if crop_height * crop_width >= CROP_LEAST_COVERED * height * width:
      # TensorFlow leaves out the last place: such a crop ends before the last
      # row, or column, unless it has all of them.
      top = int(rng.integers(max(1, height - crop_height)))
      left = int(rng.integers(max(1, width - crop_width)))
      return Box(top, left, crop_height, crop_width)
  return centre_crop(height, width)


def centre_crop(height: int, width: int) -> Box:
  """Returns the square used in evaluation: 224/256 of the short side."""
  side = max(1, int(CENTRE_CROP * min(height, width)))
  return Box((height - side + 1) // 2, (width - side + 1) // 2, side, side)


def random_flip(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Mirrors left and right with probability one half."""
  return cv2.flip(image, 1) if rng.random() < 0.5 else image


def resize(image: np.ndarray, side: int) -> np.ndarray:
  """Resizes to a square by bicubic interpolation, as TensorFlow does.

  That is Keys' kernel with a = -0.5, where OpenCV has -0.75; beyond the border
  there are no pixels, where OpenCV repeats the last. As in the released code
  there is no low-pass filter before shrinking, and overshoots are kept: values
  may lie outside 0..255.

  Args:
    image: uint8 `[H, W, 3]`.
    side: of the result, in pixels.

  Returns:
    float32 `[side, side, 3]`.
  """
  image = image.astype(np.float32)
  # Of rows, then, as rows of the transposed image, of columns.
  for _ in range(2):
    image = cv2.transpose(_resize_rows(image, side))
  return image


def _resize_rows(image: np.ndarray, count: int) -> np.ndarray:
  """Maps float32 `[H, W, 3]` to `[count, W, 3]`."""
  rows = image.reshape(len(image), -1)
  mixed = _cubic_weights(len(image), count) @ rows
  return mixed.reshape(count, *image.shape[1:])


@functools.lru_cache(maxsize=4096)
def _cubic_weights(size: int, count: int) -> scipy.sparse.csr_matrix:
  """Weights of the pixels of an axis for those of a new one.

  Args:
    size: pixels of the axis.
    count: of the new axis.

  Returns:
    float32 `[count, size]`, four numbers a row.
  """
  places = (np.arange(count) + 0.5) * size / count - 0.5
  first = np.floor(places)
  share = np.rint((places - first) * _STEPS) / _STEPS
  taps = np.arange(-1, 3)
  x = np.abs(share[:, None] - taps)
  near = ((2 + CUBIC_A) * x - (3 + CUBIC_A)) * x * x + 1
  far = CUBIC_A * (((x - 5) * x + 8) * x - 4)
  pixels = first.astype(int)[:, None] + taps
  inside = (pixels >= 0) & (pixels < size)
  weights = np.where(x <= 1, near, far) * inside
  weights /= weights.sum(axis=1, keepdims=True)
  return scipy.sparse.csr_matrix(
    (
      weights.astype(np.float32).ravel(),
      np.clip(pixels, 0, size - 1).ravel(),
      np.arange(count + 1) * len(taps),
    ),
    shape=(count, size),
  )


def normalise(image: np.ndarray) -> np.ndarray:
  """Maps float32 `[H, W, 3]`, 0..255, to zero mean and unit variance."""
  height, width, _ = image.shape
  # Rows of whole pixels: numpy is ten times slower on a last axis of three.
  rows = image.reshape(height, -1) - np.tile(MEAN_RGB, width)
  rows *= np.tile(1 / STDDEV_RGB, width)
  return rows.reshape(image.shape)


# Small images.


def random_affine(
  image: np.ndarray,
  rng: np.random.Generator,
  *,
  max_rotation: float,
  max_shear: float,
  scale: tuple[float, float],
  max_shift: float,
) -> np.ndarray:
  """Rotates, shears, scales about the centre, and shifts: for small digits.

  Bilinear; what comes from outside the image is 0.

  Args:
    image: uint8 `[H, W]` or `[H, W, C]`, C at most 4.
    rng: source of randomness.
    max_rotation: degrees; the angle is uniform in +- this.
    max_shear: horizontal pixels a vertical pixel, uniform in +- this.
    scale: least and greatest scale, uniform between; above 1 enlarges.
    max_shift: pixels; each direction is uniform in +- this.

  Returns:
    A new image of the same shape and dtype.
  """
  matrix = random_matrix(
    image.shape[:2],
    rng,
    max_rotation=max_rotation,
    max_shear=max_shear,
    scale=scale,
    max_shift=max_shift,
  )
  return moved(image, matrix)


def random_matrix(
  shape: tuple[int, int],
  rng: np.random.Generator,
  *,
  max_rotation: float,
  max_shear: float,
  scale: tuple[float, float],
  max_shift: float,
) -> np.ndarray:
  """Draws what `random_affine` does, for images and what belongs to them.

  Args:
    shape: height and width of the images.
    rng: source of randomness.
    max_rotation: see `random_affine`, like those that follow.
    max_shear: of the images.
    scale: of the images.
    max_shift: of the images.

  Returns:
    float64 `[2, 3]`: where a pixel x, y goes, its product with x, y, 1.
  """
  angle, shear, shift_x, shift_y = rng.uniform(-1, 1, size=4) * (
    math.radians(max_rotation),
    max_shear,
    max_shift,
    max_shift,
  )
  factor = rng.uniform(*scale)
  cos, sin = factor * math.cos(angle), factor * math.sin(angle)
  # Where a source point goes, relative to the centre: rotation @ shear.
  a, b, c, d = cos, cos * shear - sin, sin, sin * shear + cos
  height, width = shape
  x, y = (width - 1) / 2, (height - 1) / 2
  return np.array(
    [
      [a, b, x + shift_x - a * x - b * y],
      [c, d, y + shift_y - c * x - d * y],
    ]
  )


def moved(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
  """Moves the pixels of an image; bilinear, with zeros beyond its border.

  Args:
    image: see `random_affine`.
    matrix: see `random_matrix`.
  """
  warped = cv2.warpAffine(image, matrix, image.shape[1::-1])
  return warped.reshape(image.shape)  # OpenCV drops a channel axis of one


def moved_numbers(
  numbers: np.ndarray, matrix: np.ndarray, outside: int
) -> np.ndarray:
  """Moves the numbers of an image's pixels; each new one is the nearest.

  Args:
    numbers: int `[H, W]` from -2^15 to below 2^15, such as a mask.
    matrix: see `random_matrix`.
    outside: number of what comes from beyond the border.
  """
  result = cv2.warpAffine(
    numbers.astype(np.int16),
    matrix,
    numbers.shape[::-1],
    flags=cv2.INTER_NEAREST,
    borderValue=outside,
  )
  return result.astype(numbers.dtype)
