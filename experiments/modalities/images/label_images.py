"""Pictures whose pixels are numbers of classes: masks."""

import pathlib

import numpy as np
import PIL.Image
import PIL.ImageOps

from experiments.modalities.images.files import FORMATS, MOST_PIXELS

EXTENSIONS = ('.png', '.tif', '.tiff', '.bmp')
# Formats that keep numbers exactly. JPEG does not.
_FORMATS = ('PNG', 'TIFF', 'BMP')
_MODES = ('1', 'L', 'P', 'I', 'I;16', 'I;16B')
_COLOURS = ('RGB', 'RGBA', 'LA', 'PA', 'CMYK')
_EXIF_ORIENTATION = 0x0112
_MOST_NAMED = 3


def read_label_image(path: pathlib.Path) -> np.ndarray:
  """Reads the number of each pixel, upright as `read_pixels` does.

  Args:
    path: of a file in grey of 1, 8, 16 or 32 bits, or with a palette, whose
      entries are then the numbers; or in colours that are all shades of grey.

  Returns:
    int32 `[H, W]`.

  Raises:
    ValueError: it is no such picture, is too large, or is damaged; the message
      names it.
  """
  try:
    # A file rather than a path, see `read_pixels`.
    with (
      path.open('rb') as file,
      PIL.Image.open(file, formats=_FORMATS) as image,
    ):
      if image.width * image.height > MOST_PIXELS:
        raise _Unsuited(f'it has more than {MOST_PIXELS:,} pixels')
      PIL.ImageOps.exif_transpose(image, in_place=True)
      return _numbers(image).astype(np.int32)
  except MemoryError:
    raise
  except _Unsuited as error:
    raise ValueError(f'{path} is no mask: {error}.') from error
  except PIL.UnidentifiedImageError as error:
    raise ValueError(
      f'{path} is no mask: it is none of {", ".join(_FORMATS)}, which keep '
      'numbers exactly.'
    ) from error
  # What Pillow raises for a damaged file is not documented.
  except Exception as error:
    raise ValueError(
      f'{path} is no mask, or is damaged ({error}). Get it again, or take it '
      'out.'
    ) from error


def upright_size(path: pathlib.Path) -> tuple[int, int]:
  """Returns width and height of a picture as it is shown, from its header.

  Raises:
    OSError: it is no picture.
  """
  with PIL.Image.open(path, formats=FORMATS) as image:
    turned = image.getexif().get(_EXIF_ORIENTATION, 1) >= 5
    return image.size[::-1] if turned else image.size


def nearest(numbers: np.ndarray, side: int) -> np.ndarray:
  """Returns a square `[side, side]` of the numbers nearest to its pixels.

  Args:
    numbers: `[H, W]`, of the whole picture, see `folder.squash`.
    side: of the square.
  """
  rows, columns = (
    ((np.arange(side) + 0.5) * size / side).astype(int)
    for size in numbers.shape
  )
  return numbers[rows[:, None], columns]


class _Unsuited(ValueError):
  """A picture is whole, and no mask."""


def _numbers(image: PIL.Image.Image) -> np.ndarray:
  if image.mode in _MODES:
    return np.asarray(image)
  if image.mode not in _COLOURS:
    raise _Unsuited(
      f'its pixels are of mode {image.mode}, and not whole numbers. Save it in '
      'grey of 8 or 16 bits, a number for each class'
    )
  pixels = np.asarray(image.convert('RGB'))
  if (pixels == pixels[..., :1]).all() and image.mode == 'RGB':
    return pixels[..., 0]
  colours = np.unique(pixels.reshape(-1, 3), axis=0)
  shown = ', '.join(str(tuple(each)) for each in colours[:_MOST_NAMED].tolist())
  more = ', ...' * (len(colours) > _MOST_NAMED)
  raise _Unsuited(
    f'it has colours ({image.mode}; {len(colours):,} of them: {shown}{more}). '
    'Give each colour a number, the same in all masks, and save these numbers '
    "in grey, as PIL.Image.fromarray does with numpy's uint8"
  )
