"""Images of people: closed formats, wide numbers, very many pixels."""

import pathlib
import stat
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

from experiments.modalities.images import files
from experiments.modalities.images.files import MOST_PIXELS, read_image

ROOT = pathlib.Path(__file__).parents[2]
EPS = (
  b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n'
  b'showpage\n%%EOF\n'
)


def refuse(path, least_side=None):
  with pytest.raises(ValueError) as error:
    read_image(path, least_side)
  assert str(path) in str(error.value)
  return str(error.value)


def test_no_program_is_started_for_an_image(tmp_path, monkeypatch):
  called = tmp_path / 'called'
  stand_in = tmp_path / 'gs'
  stand_in.write_text(f'#!/bin/sh\necho 10.0\ntouch {called}\n')
  stand_in.chmod(stat.S_IRWXU)
  monkeypatch.setenv('PATH', str(tmp_path), prepend=':')
  path = tmp_path / 'seven.png'
  path.write_bytes(EPS)
  assert '(it is none of JPEG, PNG,' in refuse(path)
  assert not called.exists()
  # What the list keeps from happening.
  with pytest.raises(OSError), PIL.Image.open(path) as image:
    image.load()
  assert called.exists()


@pytest.mark.parametrize('file_format', ['TGA', 'PCX', 'ICO', 'PDF', 'DDS'])
def test_other_formats_are_refused_whatever_they_are_called(
  tmp_path, file_format
):
  path = tmp_path / 'x.png'
  PIL.Image.new('RGB', (16, 16), 'red').save(path, file_format)
  assert 'is no image' in refuse(path)


@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.tif'])
def test_the_content_decides_on_the_format(tmp_path, suffix):
  path = tmp_path / f'x{suffix}'
  PIL.Image.new('RGB', (4, 4), (9, 8, 7)).save(path, 'BMP')
  assert read_image(path).getpixel((0, 0)) == (9, 8, 7)


# Wide numbers. OpenCV writes them.

RAMP = np.tile(np.linspace(0, 1, 64), (40, 1))


@pytest.mark.parametrize(
  ('suffix', 'white', 'dtype'),
  [
    ('.tif', 1, np.float32),
    ('.tif', 255, np.float32),
    ('.tif', 65535, np.float32),
    ('.png', 255, np.uint16),
    ('.png', 1023, np.uint16),
    ('.png', 4095, np.uint16),
    ('.png', 16383, np.uint16),
    ('.png', 65535, np.uint16),
    ('.tif', 4095, np.uint16),
  ],
)
def test_wide_numbers_keep_their_greys(tmp_path, suffix, white, dtype):
  path = tmp_path / f'x{suffix}'
  values = RAMP * white
  values = values if dtype == np.float32 else values.round()
  assert cv2.imwrite(str(path), values.astype(dtype))
  image = np.asarray(read_image(path))
  assert np.abs(image[..., 0] - 255 * RAMP).max() <= 0.51 + 128 / white * (
    dtype != np.float32
  )
  assert len(np.unique(image)) == 64


@pytest.mark.parametrize('scale', [2e9, 1e5])
def test_numbers_beyond_are_spread(tmp_path, scale):
  values = ((RAMP - 0.25) * scale).astype(np.int32)
  PIL.Image.fromarray(values).save(tmp_path / 'x.tif')
  image = np.asarray(read_image(tmp_path / 'x.tif'))
  assert np.abs(image[..., 0] - 255 * RAMP).max() <= 0.51


def test_a_dark_image_stays_dark(tmp_path):
  PIL.Image.fromarray((RAMP * 40_000).astype(np.uint16)).save(
    tmp_path / 'x.png'
  )
  image = np.asarray(read_image(tmp_path / 'x.png'))
  assert image.max() == round(255 * 40_000 / 65_535)


def test_pixels_that_are_no_numbers_are_refused(tmp_path):
  values = RAMP.astype(np.float32)
  values[3, 4] = np.nan
  PIL.Image.fromarray(values).save(tmp_path / 'x.tif')
  assert 'a pixel that is not finite' in refuse(tmp_path / 'x.tif')


# Many pixels.


def png_of_zeros(width, height):
  """A small file that states, and has, many grey pixels."""
  squeezed = zlib.compressobj(9)
  data = b''.join(squeezed.compress(bytes(width + 1)) for _ in range(height))
  chunks = (
    (b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)),
    (b'IDAT', data + squeezed.flush()),
    (b'IEND', b''),
  )
  return b'\x89PNG\r\n\x1a\n' + b''.join(
    struct.pack('>I', len(body))
    + name
    + body
    + struct.pack('>I', zlib.crc32(name + body))
    for name, body in chunks
  )


_GROWTH = """
import contextlib, pathlib, re, sys
from experiments.modalities.images.files import read_image
def peak():
  status = pathlib.Path('/proc/self/status').read_text()
  return int(re.search(r'VmHWM:\\s+(\\d+)', status)[1])
before = peak()
with contextlib.suppress(ValueError):
  read_image(pathlib.Path(sys.argv[1]), 512)
print(peak() - before)
"""


def growth(path):
  """KiB that reading an image adds to what a process takes at most."""
  return int(
    subprocess.run(
      [sys.executable, '-c', _GROWTH, str(path)],
      capture_output=True,
      check=True,
      cwd=ROOT,
    ).stdout
  )


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path):
  path = tmp_path / 'x.png'
  path.write_bytes(png_of_zeros(9_000, 9_000))
  assert path.stat().st_size < 100_000
  for least_side in (None, 64):
    message = refuse(path, least_side)
    assert 'is too large: 9,000 x 9,000 pixels' in message
    assert f'{MOST_PIXELS:,}' in message
  assert growth(path) < 40_000  # Decoded it is 81 MB, as RGB 243.
  path.write_bytes(png_of_zeros(2, 1)[:16] + struct.pack('>II', 10**5, 10**5))
  refuse(path)


def test_a_large_photograph_is_decoded_smaller(tmp_path):
  y, x = np.mgrid[:1200, :1600]
  colours = np.stack([x * 255 // 1600, y * 255 // 1200, 0 * x], axis=-1)
  path = tmp_path / 'x.jpg'
  PIL.Image.fromarray(colours.astype(np.uint8)).save(path, quality=95)
  small = read_image(path, 128)
  assert 128 <= min(small.size) < 256
  whole = read_image(path).resize((64, 48), PIL.Image.Resampling.BICUBIC)
  again = small.resize((64, 48), PIL.Image.Resampling.BICUBIC)
  difference = np.abs(np.asarray(whole, int) - np.asarray(again))
  assert difference.mean() < 1
  # Half of what is needed is never given.
  assert min(read_image(path, 1000).size) >= 1000


@pytest.mark.parametrize('mode', ['L', 'RGBA', 'P', 'LA', 'I;16', '1', 'CMYK'])
@pytest.mark.parametrize('orientation', [1, 6])
def test_modes_and_orientations_read_the_same_when_made_smaller(
  tmp_path, mode, orientation
):
  image = PIL.Image.new('RGB', (400, 240), (200, 100, 60))
  image.paste((20, 40, 90), (0, 0, 200, 120))  # Top left is dark.
  if mode == 'I;16':
    values = np.full((240, 400), 40_000, np.uint16)
    values[:120, :200] = 7_000
    image = PIL.Image.fromarray(values)
  else:
    image = image.convert(mode)
  exif = PIL.Image.Exif()
  exif[0x0112] = orientation
  path = tmp_path / 'x.tif'
  image.save(path, exif=exif)
  small, whole = read_image(path, 60), read_image(path)
  assert whole.size == ((240, 400) if orientation == 6 else (400, 240))
  assert (small.width > small.height) == (whole.width > whole.height)
  turned = np.rot90(image.convert('RGB'), -1 if orientation == 6 else 0)
  if mode != 'I;16':
    np.testing.assert_array_equal(np.asarray(whole), turned)
  # The dark quarter is where the camera says, in both.
  for read in (small, whole):
    quarters = read.resize((2, 2), PIL.Image.Resampling.BOX).convert('L')
    darkest = np.asarray(quarters).argmin()
    assert darkest == (1 if orientation == 6 else 0)


def test_a_large_png_is_read_by_rows(tmp_path):
  path = tmp_path / 'x.png'
  PIL.Image.new('RGB', (6_000, 6_000), 'blue').save(path)
  # Decoded as a whole it is 108 MB, or 144 as Pillow keeps it.
  assert growth(path) < 40_000
  assert read_image(path, 512).size == (546, 546)


@pytest.mark.parametrize(
  'mode', ['L', 'LA', 'RGB', 'RGBA', 'P', 'tRNS', 'I;16']
)
@pytest.mark.parametrize('late', [False, True])
def test_rows_come_to_what_the_whole_does(tmp_path, mode, late, monkeypatch):
  rng = np.random.default_rng(0)
  # Smooth in places, so that its rows are filtered in all ways.
  colours = np.cumsum(rng.integers(0, 3, (233, 311, 4)), axis=1).astype('u1')
  image = PIL.Image.fromarray(colours)
  if mode == 'I;16':
    image = PIL.Image.fromarray(colours.view('<u2')[..., 0].copy())
  elif mode == 'tRNS':
    image = image.convert('RGB')
    image.info['transparency'] = image.getpixel((7, 9))
  else:
    image = image.convert(mode)
  exif = PIL.Image.Exif()
  exif[0x0112] = 6
  path = tmp_path / 'x.png'
  image.save(path, exif=exif)
  if late:
    path.write_bytes(exif_last(path.read_bytes()))
  monkeypatch.setattr(files, '_PIXELS_OF_A_STRIP', 311 * 20)
  small, whole = read_image(path, 50), read_image(path)
  assert whole.size == (233, 311)
  # What cannot be averaged, as numbers of a palette, stays large.
  as_it_is = mode == 'I;16' or (late and mode in ('LA', 'P'))
  assert small.size == (whole.size if as_it_is else (59, 78))
  if mode != 'I;16' and not late:
    upright = whole.transpose(PIL.Image.Transpose.ROTATE_90)
    expected = upright.reduce(4).transpose(PIL.Image.Transpose.ROTATE_270)
    np.testing.assert_array_equal(np.asarray(small), np.asarray(expected))


def exif_last(data):
  """Puts the Exif chunk of a PNG file behind its pixels."""
  begin = data.index(b'eXIf') - 4
  end = begin + 12 + int.from_bytes(data[begin : begin + 4])
  return data[:begin] + data[end:-12] + data[begin:end] + data[-12:]


@pytest.mark.parametrize('share', [0.2, 0.5, 0.9])
def test_a_large_png_that_is_cut_short_is_refused(tmp_path, share):
  path = tmp_path / 'x.png'
  noise = np.random.default_rng(0).integers(0, 256, (400, 500, 3))
  PIL.Image.fromarray(noise.astype(np.uint8)).save(path)
  data = path.read_bytes()
  path.write_bytes(data[: int(share * len(data))])
  assert 'or is damaged (it is cut short)' in refuse(path, 50)
