"""Sound and frames of media files: any container and codec that FFmpeg reads.

Times are in seconds from the start of the file, the same for its sound and its
frames. PyAV brings FFmpeg's libraries along; no program is called.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import av
import numpy as np

SOUND_EXTENSIONS = (
  '.wav',
  '.flac',
  '.ogg',
  '.opus',
  '.mp3',
  '.m4a',
  '.aac',
  '.aiff',
)
VIDEO_EXTENSIONS = (
  '.mp4',
  '.webm',
  '.mkv',
  '.avi',
  '.mov',
  '.m4v',
  '.mpg',
  '.mpeg',
)
# After a jump into the middle, a codec needs a moment to get its sound right.
_SECONDS_BEFORE_START = 0.5
# A file may end this much before its header says so.
_MISSING_SECONDS = 1.0
# Programs that write to a pipe state the largest sizes that there are.
_UNKNOWN_RIFF_SIZE = 2**31 - 1
# The tag that holds a stream's length in Matroska and WebM files.
_LENGTH_TAG = 'DURATION'

Path = str | os.PathLike[str]


class MediaHeader(NamedTuple):
  """What a media file states of itself.

  Attributes:
    seconds: its length; None where it does not say.
    sample_rate: of its sound in Hz; None without sound.
    short_side: of its frames in pixels; None without video.
  """

  seconds: float | None
  sample_rate: int | None
  short_side: int | None


def read_header(path: Path) -> MediaHeader:
  """Reads the header of a media file; nothing is decoded.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file is not media.
  """
  with _opened(path) as container:
    audio, video = container.streams.audio, container.streams.video
    length = container.duration
    return MediaHeader(
      seconds=None if length is None else length / av.time_base,
      sample_rate=audio[0].rate if audio else None,
      short_side=min(video[0].width, video[0].height) if video else None,
    )


def decode_audio(
  path: Path,
  sample_rate: int,
  *,
  start: float = 0.0,
  end: float | None = None,
) -> np.ndarray:
  """Returns the sound of a media file: the mean of its channels.

  Args:
    path: of a file, such as wav, flac, ogg, mp3, mp4 or webm.
    sample_rate: of the result, in Hz; sound of another rate is resampled.
    start: of the part to return, in seconds. Silence stands where a file's
      sound starts late.
    end: of the part; None or a time past the end is the end of the sound.

  Returns:
    float32 `[T]` in [-1, 1].

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file is not media, has no sound, is damaged or ends before
      `start`.
  """
  _check_interval(start, end)
  with _opened(path) as container:
    stream = _first(container.streams.audio, 'sound', path)
    origin = _seek(container, start)
    resampler = av.AudioResampler(format='fltp', rate=sample_rate)
    chunks, first, last = [], None, 0.0
    for frame in container.decode(stream):
      time = last if frame.time is None else frame.time - origin
      if end is not None and time >= end:
        break
      first = time if first is None else first
      last = time + frame.samples / frame.sample_rate
      chunks += resampler.resample(frame)
    else:
      _check_whole(stream, last, path)
    chunks += resampler.resample(None)
    samples = [chunk.to_ndarray().mean(axis=0) for chunk in chunks]
  if first is None or last <= start:
    raise ValueError(f'{path} has no sound after {start} s.')
  samples = np.concatenate([_silence(first - start, sample_rate), *samples])
  # What was decoded before `start` goes, and what is past `end`.
  skip = max(0, round((start - first) * sample_rate))
  stop = None if end is None else skip + round((end - start) * sample_rate)
  return np.clip(samples[skip:stop], -1.0, 1.0).astype(np.float32)


def has_video(path: Path) -> bool:
  """Returns whether a media file has frames, besides a picture of its cover.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file is not media.
  """
  with _opened(path) as container:
    return bool(_films(container))


def decode_frames(
  path: Path,
  *,
  frame_rate: float,
  short_side: int | None = None,
  start: float = 0.0,
  end: float | None = None,
) -> np.ndarray:
  """Returns the frames of a video at a constant rate.

  Each is the frame of the file that is nearest in time: none is blended.

  Args:
    path: of a file, such as mp4, webm, mkv or avi.
    frame_rate: of the result, in Hz.
    short_side: of the result, in pixels; the aspect stays. None is the size
      that is stored.
    start: of the part to return, in seconds; the time of the first frame.
    end: of the part; None or a time past the end is the end of the video.

  Returns:
    uint8 RGB `[F, H, W, 3]`, with `F = (end - start) * frame_rate` rounded.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file is not media, has no frames, is damaged or ends before
      `start`.
  """
  _check_interval(start, end)
  with _opened(path) as container:
    stream = _first(_films(container), 'video', path)
    origin = _seek(container, start)
    result: list[np.ndarray] = []
    held, shown, last = None, 0.0, 0.0  # A frame, from when to when.
    for frame in container.decode(stream):
      time = last if frame.time is None else frame.time - origin
      if held is not None:
        middle = (shown + time) / 2
        _repeat(held, result, (middle - start) * frame_rate, short_side)
      held, shown = frame, time
      last = time + _frame_seconds(frame, stream)
      if end is not None and time >= end:
        break
    else:
      _check_whole(stream, last, path)
    if held is None or last <= start:
      raise ValueError(f'{path} has no frames after {start} s.')
    length = last if end is None else min(last, end)
    count = max(1, round((length - start) * frame_rate))
    _repeat(held, result, count - 1, short_side)
  return np.stack(result[:count])


def _repeat(
  frame: av.VideoFrame,
  result: list[np.ndarray],
  until: float,
  short_side: int | None,
) -> None:
  """Appends a frame for every index up to `until`, converted once."""
  if len(result) > until:
    return
  pixels = _pixels(frame, short_side)
  while len(result) <= until:
    result.append(pixels)


def _pixels(frame: av.VideoFrame, short_side: int | None) -> np.ndarray:
  """Converts a frame to uint8 RGB `[H, W, 3]`, upright."""
  width, height = frame.width, frame.height
  if short_side is not None:
    scale = short_side / min(width, height)
    width, height = round(width * scale), round(height * scale)
  pixels = frame.reformat(width, height, format='rgb24').to_ndarray()
  # Telephones store frames as the sensor saw them, and say how to turn them.
  return np.rot90(pixels, round(frame.rotation / 90))


def _frame_seconds(frame: av.VideoFrame, stream: Any) -> float:
  if frame.duration and frame.time_base:
    return float(frame.duration * frame.time_base)
  rate = stream.average_rate or stream.guessed_rate
  return float(1 / rate) if rate else 0.0


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[av.container.InputContainer]:
  """Opens a file; what goes wrong inside is an error that names it."""
  path = os.fspath(path)
  if not os.path.isfile(path):
    raise FileNotFoundError(f'There is no media file {path}.')
  try:
    with av.open(path) as container:
      _check_riff(path)
      yield container
  except av.FFmpegError as error:
    raise ValueError(
      f'{path} cannot be decoded ({error.strerror}, {os.path.getsize(path)} '
      'bytes): it is damaged, cut short or no media file. Get it again, or '
      'take it out.'
    ) from error


def _films(container: av.container.InputContainer) -> list[Any]:
  """Returns the video streams that are no picture of a record's cover."""
  cover = av.stream.Disposition.attached_pic
  return [s for s in container.streams.video if not s.disposition & cover]


def _first(streams: Sequence[Any], kind: str, path: Path) -> Any:
  if not streams:
    raise ValueError(f'{path} has no {kind}.')
  return streams[0]


def _seek(container: av.container.InputContainer, start: float) -> float:
  """Goes to a place before `start` and returns the time of the file's start."""
  origin = (container.start_time or 0) / av.time_base
  before = start - _SECONDS_BEFORE_START
  if before > 0:
    container.seek(int((origin + before) * av.time_base))
  return origin


def _silence(seconds: float, sample_rate: int) -> np.ndarray:
  return np.zeros(max(0, round(seconds * sample_rate)), np.float32)


def _check_whole(stream: Any, last: float, path: Path) -> None:
  """Raises a ValueError where much less was decoded than the header states."""
  stated = _stated_seconds(stream)
  if last and stated is not None and last < stated - _MISSING_SECONDS:
    raise ValueError(
      f'{path} is cut short: its {stream.type} ends after {last:.1f} of the '
      f'{stated:.1f} s that its header states. Get it again, or take it out.'
    )


def _stated_seconds(stream: Any) -> float | None:
  """Returns the length that a file's header states of a stream, if it does."""
  if stream.duration is not None:
    return float(stream.duration * stream.time_base)
  if _LENGTH_TAG not in stream.metadata:
    return None
  hours, minutes, seconds = stream.metadata[_LENGTH_TAG].split(':')
  return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


def _check_riff(path: str) -> None:
  """Raises a ValueError where a wav or avi file is shorter than it states.

  FFmpeg takes its length for that of the sound, and finds nothing missing.
  """
  with open(path, 'rb') as file:
    head = file.read(8)
  stated = int.from_bytes(head[4:], 'little')
  size = os.path.getsize(path)
  if head[:4] == b'RIFF' and size < 8 + stated < _UNKNOWN_RIFF_SIZE:
    raise ValueError(
      f'{path} is cut short: it has {size} of the {8 + stated} bytes that its '
      'header states. Get it again, or take it out.'
    )


def _check_interval(start: float, end: float | None) -> None:
  if start < 0.0 or (end is not None and end <= start):
    raise ValueError(f'The part from {start} to {end} s is empty.')
