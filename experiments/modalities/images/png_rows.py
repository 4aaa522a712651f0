"""PNG files some rows at a time: a large one takes no more memory than few.

Pillow decodes a file as a whole. So its rows are unpacked here, and Pillow is
given small files, each of some rows: what it knows of PNG is not written twice.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import PIL.Image

_SIGNATURE = b'\x89PNG\r\n\x1a\n'
# Width, height, bits, colour type, and three that are 0 of plain files.
_HEADER = struct.Struct('>IIBBBBB')
# Bytes of a pixel, of 8 bits each, by colour type: grey, RGB, palette, grey
# and RGB with alpha.
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# What colours mean; texts and the like are passed over.
_COLOURS = (b'PLTE', b'tRNS')
_MOST_AT_ONCE = 2**16


class _Png(NamedTuple):
  """What stands before the pixels of a file.

  Attributes:
    width: in pixels.
    height: in pixels.
    channels: bytes of a pixel.
    kind: bits, colour type and so on, as in the header.
    colours: chunks of a palette and of what is transparent.
  """

  width: int
  height: int
  channels: int
  kind: tuple[int, ...]
  colours: bytes


def strips(file: BinaryIO, rows: int) -> Iterator[PIL.Image.Image] | None:
  """Returns a PNG file as images of some of its rows, from the top.

  Args:
    file: of an image, read from its beginning.
    rows: of each image; the last has what is left.

  Returns:
    The images, decoded as they are asked for; None where the file is no PNG of
    8 bits a channel, its rows do not lie one after the other, or what turns it
    stands behind them.
  """
  file.seek(0)
  if file.read(len(_SIGNATURE)) != _SIGNATURE:
    return None
  chunks = _chunks(file)
  header = next(chunks, (b'', b''))[1]
  if len(header) != _HEADER.size:
    return None
  width, height, *kind = _HEADER.unpack(header)
  if kind[0] != 8 or kind[1] not in _CHANNELS or any(kind[2:]):
    return None
  if _turned_late(file):
    return None
  colours, pixels = b'', b''
  for name, pixels in chunks:
    if name == b'IDAT':
      break
    if name in _COLOURS:
      colours += _chunk(name, pixels)
  png = _Png(width, height, _CHANNELS[kind[1]], tuple(kind), colours)
  return _decoded(png, _unpacked(pixels, chunks), rows)


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
  """Yields name and content; of pixels in parts, and nothing behind them."""
  while len(head := file.read(8)) == 8:
    size, name = int.from_bytes(head[:4]), head[4:]
    left = size
    while left > _MOST_AT_ONCE and name == b'IDAT':
      yield name, file.read(_MOST_AT_ONCE)
      left -= _MOST_AT_ONCE
    yield name, file.read(left)
    file.seek(4, io.SEEK_CUR)  # Its checksum: that of zlib is looked at.


def _turned_late(file: BinaryIO) -> bool:
  """Whether an Exif chunk follows; leaves the file where it was."""
  begin, names = file.tell(), []
  file.seek(len(_SIGNATURE))
  while len(head := file.read(8)) == 8:
    names.append(head[4:])
    file.seek(int.from_bytes(head[:4]) + 4, io.SEEK_CUR)
  file.seek(begin)
  return b'IDAT' in names and b'eXIf' in names[names.index(b'IDAT') :]


def _unpacked(
  first: bytes, chunks: Iterator[tuple[bytes, bytes]]
) -> Iterator[bytes]:
  """Yields the bytes of rows, as they come."""
  stream = zlib.decompressobj()
  data = first
  while True:
    while data and not stream.eof:
      yield stream.decompress(data, _MOST_AT_ONCE)
      data = stream.unconsumed_tail
    name, data = next(chunks, (b'', b''))
    if name != b'IDAT':
      break
  if not stream.eof:
    yield stream.flush()


def _decoded(
  png: _Png, parts: Iterator[bytes], rows: int
) -> Iterator[PIL.Image.Image]:
  # A row has a byte before it that says how it was made of the one above.
  stride = 1 + png.width * png.channels
  above, held = b'', bytearray()
  for begin in range(0, png.height, rows):
    count = min(rows, png.height - begin)
    while len(held) < count * stride:
      part = next(parts, None)
      if part is None:
        raise ValueError('it is cut short')
      held += part
    strip = _image(png, above + bytes(held[: count * stride]))
    del held[: count * stride]
    if above:
      strip = strip.crop((0, 1, *strip.size))
    last = strip.crop((0, count - 1, png.width, count))
    above = b'\0' + last.tobytes()
    yield strip


def _image(png: _Png, rows: bytes) -> PIL.Image.Image:
  """Decodes a file of rows."""
  count = len(rows) // (1 + png.width * png.channels)
  file = io.BytesIO(
    _SIGNATURE
    + _chunk(b'IHDR', _HEADER.pack(png.width, count, *png.kind))
    + png.colours
    + _chunk(b'IDAT', zlib.compress(rows, 0))
    + _chunk(b'IEND', b'')
  )
  image = PIL.Image.open(file, formats=('PNG',))
  image.load()
  return image


def _chunk(name: bytes, data: bytes) -> bytes:
  check = zlib.crc32(name + data)
  return struct.pack('>I', len(data)) + name + data + struct.pack('>I', check)
