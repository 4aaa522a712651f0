"""Files of flow: bytes written out, and files that are none."""

import struct

import cv2
import numpy as np
import pytest

from experiments.modalities.frames.files import (
  flo_shape,
  format_flo,
  parse_flo,
  parse_kitti_flow,
)


def test_a_flo_file_byte_by_byte():
  # The tag is the float 202021.25; then width, height, and u, v of each pixel.
  data = struct.pack('<fii', 202021.25, 3, 2)
  data += struct.pack('<12f', *range(12))
  flow, valid = parse_flo(data, 'a.flo')
  assert flow.shape == (2, 3, 2) and flow.dtype == np.float32
  np.testing.assert_array_equal(flow.ravel(), np.arange(12))
  assert valid.all() and valid.shape == (2, 3)
  assert format_flo(flow) == data
  assert flo_shape(data[:12], 'a.flo') == (2, 3)


def test_unknown_flow_is_zero_and_not_valid():
  flow = np.array([[[1.0, 2.0], [1e10, 0.0], [np.nan, 1.0]]])
  read, valid = parse_flo(format_flo(flow), 'a.flo')
  np.testing.assert_array_equal(valid, [[True, False, False]])
  np.testing.assert_array_equal(read, [[[1, 2], [0, 0], [0, 0]]])


@pytest.mark.parametrize(
  ('data', 'message'),
  [
    (b'', r"a\.flo begins with b''"),
    (b'\x89PNG and so on, far enough', r"begins with b'\\x89PNG'"),
    (struct.pack('>fii', 202021.25, 3, 2), "begins with b'HE"),
    (struct.pack('<4sii', b'PIEH', 0, 2), '0 x 2 pixels: it is broken'),
    (struct.pack('<4sii', b'PIEH', 3, 2) + bytes(47), '59 bytes.* has 60'),
    (struct.pack('<4sii', b'PIEH', 3, 2) + bytes(49), '61 bytes.* has 60'),
  ],
)
def test_files_that_are_not_flo(data, message):
  with pytest.raises(ValueError, match=message):
    parse_flo(data, 'a.flo')


def png(image):
  return cv2.imencode('.png', image)[1].tobytes()


def test_kitti_flow_in_numbers():
  # As the development kit says: u = (R - 2^15) / 64, valid where B is not 0.
  red = np.array([[2**15, 2**15 + 64, 0]])
  green = np.array([[2**15 - 32, 2**15, 2**16 - 1]])
  blue = np.array([[1, 1, 0]])
  image = np.stack([blue, green, red], axis=-1).astype(np.uint16)
  flow, valid = parse_kitti_flow(png(image), 'a.png')
  np.testing.assert_array_equal(valid, [[True, True, False]])
  np.testing.assert_array_equal(flow, [[[0, -0.5], [1, 0], [0, 0]]])
  assert flow.dtype == np.float32 and valid.dtype == np.bool_


@pytest.mark.parametrize(
  ('data', 'message'),
  [
    (b'', r'000000_10\.png: 0 bytes'),
    (format_flo(np.zeros((2, 2, 2))), 'not a whole PNG image'),
    (png(np.zeros((4, 4, 3), np.uint8)), r'\(4, 4, 3\) of uint8.*16 bits'),
    (png(np.zeros((4, 4), np.uint16)), r'\(4, 4\) of uint16.*three channels'),
    (png(np.ones((64, 64, 3), np.uint16))[:60], 'not a whole PNG image'),
  ],
)
def test_images_that_are_not_kitti_flow(data, message):
  with pytest.raises(ValueError, match=message):
    parse_kitti_flow(data, '000000_10.png')
