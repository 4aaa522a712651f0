"""Files of optical flow: Middlebury's .flo, and the 16-bit images of KITTI.

Flow is float32 `[H, W, 2]`, motion to the right and down in pixels.
"""

import struct

import cv2
import numpy as np

# The first four bytes of a .flo file, a float that reads 'PIEH'.
_FLO_TAG = b'PIEH'
_FLO_HEADER = struct.Struct('<4sii')
# Larger motion in a .flo file means that it is not known.
_FLO_UNKNOWN = 1e9
_LARGEST_SIDE = 99_999
# A KITTI value v is (v - 2^15) / 64 pixels.
_KITTI_ZERO = 2**15
_KITTI_SCALE = 64.0


def parse_flo(data: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
  """Reads a .flo file: 'PIEH', width, height, rows of (u, v), little-endian.

  Args:
    data: the file's bytes.
    name: of the file, for messages.

  Returns:
    Flow float32 `[H, W, 2]`, and where it is known, bool `[H, W]`; unknown flow
    is zero.

  Raises:
    ValueError: the bytes are not a whole .flo file.
  """
  height, width = flo_shape(data[: _FLO_HEADER.size], name)
  expected = _FLO_HEADER.size + 8 * height * width
  if len(data) != expected:
    raise ValueError(
      f'{name} has {len(data)} bytes; a .flo file of {width} x {height} pixels '
      f'has {expected}. Copy or download it again.'
    )
  flow = np.frombuffer(data, '<f4', offset=_FLO_HEADER.size)
  flow = flow.reshape(height, width, 2).astype(np.float32)
  valid = (np.abs(flow) < _FLO_UNKNOWN).all(axis=-1)  # False for NaN, too.
  return np.where(valid[..., None], flow, np.float32(0)), valid


def flo_shape(header: bytes, name: str) -> tuple[int, int]:
  """Returns (height, width) from the first 12 bytes of a .flo file.

  Raises:
    ValueError: they are not those of a .flo file.
  """
  if len(header) < _FLO_HEADER.size or not header.startswith(_FLO_TAG):
    raise ValueError(
      f'{name} begins with {header[:4]!r}; a .flo file begins with {_FLO_TAG!r}'
      ', its width and its height.'
    )
  _, width, height = _FLO_HEADER.unpack_from(header)
  if not (0 < width <= _LARGEST_SIDE and 0 < height <= _LARGEST_SIDE):
    raise ValueError(
      f'{name} says that it has {width} x {height} pixels: it is broken, or '
      'big-endian.'
    )
  return height, width


def format_flo(flow: np.ndarray) -> bytes:
  """Returns the bytes of a .flo file.

  Args:
    flow: `[H, W, 2]`.
  """
  height, width, _ = flow.shape
  header = _FLO_HEADER.pack(_FLO_TAG, width, height)
  return header + np.ascontiguousarray(flow, '<f4').tobytes()


def parse_kitti_flow(data: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
  """Reads a flow image of KITTI: 16-bit PNG of u, v and whether it is known.

  Args:
    data: the file's bytes.
    name: of the file, for messages.

  Returns:
    Flow float32 `[H, W, 2]`, and where it is known, bool `[H, W]`; unknown flow
    is zero.

  Raises:
    ValueError: the bytes are not such an image.
  """
  array = np.frombuffer(data, np.uint8)
  image = cv2.imdecode(array, cv2.IMREAD_UNCHANGED) if array.size else None
  if image is None:
    raise ValueError(
      f'{name}: {len(data)} bytes beginning {data[:8]!r} are not a whole PNG '
      'image. Copy or download it again.'
    )
  if image.dtype != np.uint16 or image.ndim != 3 or image.shape[2] != 3:
    raise ValueError(
      f'{name} is an image {image.shape} of {image.dtype}; the flow of KITTI '
      'is in images of three channels of 16 bits: flow_occ/000000_10.png.'
    )
  valid = image[..., 0] > 0  # OpenCV reverses the channels.
  flow = (image[..., :0:-1].astype(np.float32) - _KITTI_ZERO) / _KITTI_SCALE
  return np.where(valid[..., None], flow, np.float32(0)), valid
