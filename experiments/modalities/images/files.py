"""Files of images, as RGB and upright.

Pillow finds a file's format by its content, whatever it is called. Only the
formats of a list are tried: others may start a program, as Ghostscript for EPS,
or read further files.
"""

import pathlib
import warnings
from typing import BinaryIO

import numpy as np
import PIL.Image
import PIL.ImageOps

from experiments.host.helper import done_apart
from experiments.modalities.images.png_rows import strips

# What cannot be read is an error of ours, in one line.
warnings.filterwarnings('ignore', category=UserWarning, module=r'PIL\.')

EXTENSIONS = (
  '.jpg',
  '.jpeg',
  '.jfif',
  '.png',
  '.webp',
  '.bmp',
  '.gif',
  '.tif',
  '.tiff',
  '.ppm',
  '.pgm',
)
# Pillow's names of what the endings say.
FORMATS = ('JPEG', 'PNG', 'WEBP', 'BMP', 'GIF', 'TIFF', 'PPM')
# Decoding takes some bytes for each pixel, and a small file may have many.
MOST_PIXELS = 2**26
_PIXELS_OF_A_STRIP = 2**19
# What whole numbers of more than 8 bits reach at most, as cameras and scanners
# write them.
_BRIGHTEST = tuple(2**bits - 1 for bits in (8, 10, 12, 14, 16))


def read_image(
  path: pathlib.Path, least_side: int | None = None
) -> PIL.Image.Image:
  """Reads an image as RGB, upright as its camera was held.

  See `read_pixels`, which it takes its pixels from.
  """
  return PIL.Image.fromarray(read_pixels(path, least_side))


@done_apart
def read_pixels(
  path: pathlib.Path, least_side: int | None = None
) -> np.ndarray:
  """Reads an image as uint8 RGB `[H, W, 3]`, upright as its camera was held.

  Grey becomes three equal channels, what is transparent becomes white; of a
  moving picture it is the first frame. Values of more than 8 bits are brought
  to 8: white is the least of 2^8 - 1, 2^10 - 1, ..., 2^16 - 1 that none of them
  exceeds, of fractions also 1; others are spread from their least to their
  largest.

  Args:
    path: of the file.
    least_side: that suffices: a larger image may be made smaller by a whole
      factor while it is decoded, with no side below this one. None is its full
      size, of which at most 2^26 pixels are read.

  Raises:
    ValueError: the file is no image, is too large, or is damaged; the message
      names it.
  """
  try:
    # A file rather than a path: of a path Pillow maps plain TIFF into memory,
    # and then mistakes the rows of those that are stored turned.
    with (
      path.open('rb') as file,
      PIL.Image.open(file, formats=FORMATS) as image,
    ):
      _check_size(image, least_side, path)
      factor = min(image.size) // least_side if least_side else 1
      small = _reduced_by_rows(file, image, factor)
      if small is None:
        PIL.ImageOps.exif_transpose(image, in_place=True)
        small = _rgb(_reduced(image, factor))
      return np.asarray(small)
  except (_TooLargeError, MemoryError):
    raise
  except PIL.Image.DecompressionBombError as error:
    most = 2 * PIL.Image.MAX_IMAGE_PIXELS
    raise _too_large(path, f'more than {most:,} pixels') from error
  except PIL.UnidentifiedImageError as error:
    raise _damaged(path, f'it is none of {", ".join(FORMATS)}') from error
  # What Pillow raises for a damaged file is not documented.
  except Exception as error:
    raise _damaged(path, str(error)) from error


def load_formats() -> None:
  """Imports what the formats need, before a file asks for it."""
  PIL.Image.init()


class _TooLargeError(ValueError):
  """An image has more pixels than are read."""


def _damaged(path: pathlib.Path, why: str) -> ValueError:
  return ValueError(
    f'{path} is no image, or is damaged ({why}). Get it again, or take it out.'
  )


def _too_large(path: pathlib.Path, what: str) -> _TooLargeError:
  return _TooLargeError(
    f'{path} is too large: {what}. At most {MOST_PIXELS:,} pixels are read: '
    'make it smaller, or take it out.'
  )


def _check_size(
  image: PIL.Image.Image, least_side: int | None, path: pathlib.Path
) -> None:
  """Has a JPEG decoded smaller; raises an error where many pixels remain."""
  if least_side is not None:
    # Of other formats this does nothing.
    image.draft(None, _smaller(image.size, least_side))
  if image.width * image.height > MOST_PIXELS:
    raise _too_large(path, f'{image.width:,} x {image.height:,} pixels')


def _smaller(size: tuple[int, int], least_side: int) -> tuple[int, int]:
  """Returns a size of the same aspect whose short side is the one given."""
  scale = least_side / min(size)
  return tuple(max(1, round(side * scale)) for side in size)


def _reduced_by_rows(
  file: BinaryIO, image: PIL.Image.Image, factor: int
) -> PIL.Image.Image | None:
  """Averages the pixels of a PNG as they come; None of what is no such file."""
  if factor < 2 or image.format != 'PNG':
    return None
  rows = factor * max(1, _PIXELS_OF_A_STRIP // (factor * image.width))
  parts = strips(file, rows)
  if parts is None:
    return None
  small = PIL.Image.new('RGB', tuple(-(-side // factor) for side in image.size))
  for number, part in enumerate(parts):
    small.paste(_rgb(part).reduce(factor), (0, number * rows // factor))
  small.info = dict(image.info)  # Says how it is turned.
  PIL.ImageOps.exif_transpose(small, in_place=True)
  return small


def _reduced(image: PIL.Image.Image, factor: int) -> PIL.Image.Image:
  """Averages pixels where far more are there than suffice."""
  # Palettes cannot be averaged.
  if factor < 2 or image.mode not in ('L', 'RGB', 'RGBA', 'CMYK'):
    return image
  return image.reduce(factor)


def _rgb(image: PIL.Image.Image) -> PIL.Image.Image:
  if image.mode.startswith(('I', 'F')):
    image = PIL.Image.fromarray(_eight_bits(np.asarray(image)))
  if image.has_transparency_data:
    image = image.convert('RGBA')
    white = PIL.Image.new('RGBA', image.size, 'white')
    image = PIL.Image.alpha_composite(white, image)
  # A copy, which outlives the file.
  return image.convert('RGB')


def _eight_bits(values: np.ndarray) -> np.ndarray:
  """Returns uint8 of wider numbers.

  Raises:
    ValueError: one is not finite.
  """
  values = values.astype(np.float64)
  if not np.isfinite(values).all():
    raise ValueError('a pixel that is not finite')
  least, most = values.min(), values.max()
  fractions = (1,) if (values % 1.0).any() else ()
  suited = [white for white in (*fractions, *_BRIGHTEST) if most <= white]
  black, white = (0.0, suited[0]) if suited and least >= 0 else (least, most)
  scale = 255.0 / (white - black) if white > black else 0.0
  return np.round((values - black) * scale).astype(np.uint8)
