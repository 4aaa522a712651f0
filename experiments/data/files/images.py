"""Files of images: whatever Pillow reads, as RGB and upright."""

import pathlib

import numpy as np
import PIL.Image
import PIL.ImageOps

EXTENSIONS = (
  '.jpg',
  '.jpeg',
  '.png',
  '.webp',
  '.bmp',
  '.gif',
  '.tif',
  '.tiff',
  '.ppm',
  '.pgm',
)


def read_image(path: pathlib.Path) -> PIL.Image.Image:
  """Reads an image as RGB, upright as its camera was held.

  Grey becomes three equal channels, 16 bits become 8, what is transparent
  becomes white; of a moving picture it is the first frame.

  Raises:
    ValueError: the file is no image, or is damaged; the message names it.
  """
  try:
    with PIL.Image.open(path) as opened:
      image = PIL.ImageOps.exif_transpose(opened)
      if image.mode.startswith('I'):
        eight_bits = np.clip(np.asarray(image) / 257.0, 0, 255)
        image = PIL.Image.fromarray(eight_bits.round().astype(np.uint8))
      if image.has_transparency_data:
        image = image.convert('RGBA')
        white = PIL.Image.new('RGBA', image.size, 'white')
        image = PIL.Image.alpha_composite(white, image)
      return image.convert('RGB')
  except (
    OSError,
    SyntaxError,
    ValueError,
    PIL.Image.DecompressionBombError,
  ) as error:
    raise ValueError(
      f'{path} is no image, or is damaged ({error}). Get it again, or take it '
      'out.'
    ) from error
