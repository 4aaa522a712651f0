"""Opens media files of a closed list of formats, and finds what is missing.

Only the file itself is read: playlists and the like, which name other files or
addresses, are no media here, whatever they are called.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import av

# FFmpeg's names of what the endings of `media` say.
_FORMATS = (
  *('wav', 'w64', 'flac', 'ogg', 'mp3', 'aac', 'aiff', 'au'),
  *('mov', 'mp4', 'matroska', 'webm', 'avi', 'flv', 'asf'),
  *('mpeg', 'mpegts', 'mpegvideo'),
)
_OPTIONS = {
  'format_whitelist': ','.join(_FORMATS),
  'protocol_whitelist': 'file',
}
# A file may end this much before its header says so.
_MISSING_SECONDS = 1.0
# Programs that write to a pipe state about the largest sizes that there are.
_UNKNOWN_SIZES = 2**31 - 2**16
# Some count a header or a byte of padding that is not there.
_MISCOUNTED_BYTES = 64
# The tag that holds a stream's length in Matroska and WebM files.
_LENGTH_TAG = 'DURATION'
_LENGTH = re.compile(r'(\d+):(\d+):(\d+(?:\.\d+)?)')
# In the first frame of an .mp3, the header that states how many there are.
_MP3_HEADERS = (b'Xing', b'Info', b'VBRI')

Path = str | os.PathLike[str]


@contextlib.contextmanager
def opened(path: Path) -> Iterator[av.container.InputContainer]:
  """Opens a file; what goes wrong inside is an error that names it.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file is not media, or is damaged.
  """
  path = os.fspath(path)
  if not os.path.isfile(path):
    raise FileNotFoundError(f'There is no media file {path}.')
  try:
    # What tags say is not used: they may be of any encoding.
    with av.open(
      f'file:{path}', options=_OPTIONS, metadata_errors='replace'
    ) as container:
      _check_riff(path)
      yield container
  except (av.FFmpegError, UnicodeError, OverflowError) as error:
    why = getattr(error, 'strerror', None) or error
    raise ValueError(
      f'{path} cannot be decoded ({why}, {os.path.getsize(path)} bytes): it is '
      'damaged, cut short or no media file. Get it again, or take it out.'
    ) from error


def films(container: av.container.InputContainer) -> list[Any]:
  """Returns the video streams that are no picture of a record's cover."""
  cover = av.stream.Disposition.attached_pic
  return [s for s in container.streams.video if not s.disposition & cover]


def first_stream(streams: Sequence[Any], kind: str, path: Path) -> Any:
  """Returns the first of streams.

  Raises:
    ValueError: there is none, or its codec is not known.
  """
  if not streams:
    raise ValueError(f'{path} has no {kind}.')
  if streams[0].codec_context is None:
    raise ValueError(
      f'{path} cannot be decoded: the codec of its {kind} is not known. It is '
      'damaged, or needs to be converted.'
    )
  return streams[0]


def check_whole(
  container: av.container.InputContainer, stream: Any, last: float, path: Path
) -> None:
  """Raises a ValueError where much less was decoded than the header states.

  Args:
    container: of the stream.
    stream: that was decoded to its end.
    last: seconds at which it ended.
    path: of the file.
  """
  stated = stated_seconds(container, stream, path)
  if last and stated is not None and last < stated - _MISSING_SECONDS:
    raise ValueError(
      f'{path} is cut short: its {stream.type} ends after {last:.1f} of the '
      f'{stated:.1f} s that its header states. Get it again, or take it out.'
    )


def stated_seconds(
  container: av.container.InputContainer, stream: Any, path: Path
) -> float | None:
  """Returns the length that a file's header states of a stream, if it does.

  Args:
    container: of the stream.
    stream: of sound or frames.
    path: of the file.
  """
  if not _states_length(container.format.name, path):
    return None
  if stream.duration is not None:
    return float(stream.duration * stream.time_base)
  found = _LENGTH.fullmatch(stream.metadata.get(_LENGTH_TAG, ''))
  if not found:
    return None
  hours, minutes, seconds = map(float, found.groups())
  return 3600 * hours + 60 * minutes + seconds


def _states_length(format_name: str, path: Path) -> bool:
  """Whether a length is in the file, and no guess of FFmpeg from its size."""
  if format_name != 'mp3':
    return format_name not in ('aac', 'mpegvideo')
  with open(path, 'rb') as file:
    head = file.read(10)
    if head[:3] == b'ID3' and len(head) == 10:
      # Bytes of seven bits each.
      size = sum(byte << 7 * i for i, byte in enumerate(reversed(head[6:])))
      file.seek(10 + size)
    else:
      file.seek(0)
    frame = file.read(4096)
  return any(mark in frame for mark in _MP3_HEADERS)


def _check_riff(path: str) -> None:
  """Raises a ValueError where a wav or avi file is shorter than it states.

  FFmpeg takes its length for that of the sound, and finds nothing missing. Of
  a wav file the part with the samples counts: the size of the whole is often
  miscounted.
  """
  size = os.path.getsize(path)
  with open(path, 'rb') as file:
    head = file.read(12)
    if len(head) < 12 or head[:4] != b'RIFF':
      return
    end = 8 + int.from_bytes(head[4:8], 'little')
    if head[8:] == b'WAVE':
      end = _end_of_samples(file, size)
  if size + _MISCOUNTED_BYTES < end < _UNKNOWN_SIZES:
    raise ValueError(
      f'{path} is cut short: it has {size} of the {end} bytes that its header '
      'states. Get it again, or take it out.'
    )


def _end_of_samples(file: Any, size: int) -> int:
  """Returns where the samples of a wav file should end; 0 without any."""
  while file.tell() + 8 <= size:
    chunk = file.read(8)
    length = int.from_bytes(chunk[4:], 'little')
    if chunk[:4] == b'data':
      return file.tell() + length
    file.seek(length + length % 2, os.SEEK_CUR)
  return 0
