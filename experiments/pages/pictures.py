"""Pictures that commands write."""

import pathlib

import cv2
import numpy as np

# Of 9. OpenCV's own, 1, makes enlarged pictures three to five times as large.
_COMPRESSION = 6


def enlarged(picture: np.ndarray, factor: int) -> np.ndarray:
  """Makes `factor` x `factor` pixels of each, without smoothing.

  Args:
    picture: `[H, W, 3]`.
    factor: a whole number.
  """
  return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def write_picture(picture: np.ndarray, path: pathlib.Path) -> None:
  """Writes uint8 RGB `[H, W, 3]` as a PNG file."""
  _write_png(picture[..., ::-1], path)


def write_numbers(numbers: np.ndarray, path: pathlib.Path) -> None:
  """Writes whole numbers as a PNG file in grey.

  Args:
    numbers: int `[H, W]` from 0 to below 2^16; 8 bits each where they suffice.
    path: of the file.
  """
  kind = np.uint8 if numbers.max(initial=0) < 256 else np.uint16
  _write_png(numbers.astype(kind), path)


def _write_png(pixels: np.ndarray, path: pathlib.Path) -> None:
  level = (cv2.IMWRITE_PNG_COMPRESSION, _COMPRESSION)
  _, encoded = cv2.imencode('.png', pixels, level)
  path.write_bytes(encoded.tobytes())
