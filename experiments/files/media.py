"""Sound and frames of media files: any container and codec that FFmpeg reads.

Times are in seconds from the start of the file, the same for its sound and its
frames. PyAV brings FFmpeg's libraries along; no program is called.
"""

from typing import Any, NamedTuple

import av
import numpy as np

from experiments.files.containers import (
  Path,
  check_whole,
  films,
  first_stream,
  opened,
  stated_seconds,
)
from experiments.host.helper import done_apart

SOUND_EXTENSIONS = (
  '.wav',
  '.flac',
  '.ogg',
  '.oga',
  '.opus',
  '.mp3',
  '.m4a',
  '.aac',
  '.aif',
  '.aiff',
  '.au',
)
VIDEO_EXTENSIONS = (
  '.mp4',
  '.webm',
  '.mkv',
  '.avi',
  '.mov',
  '.m4v',
  '.3gp',
  '.mpg',
  '.mpeg',
  '.ts',
  '.wmv',
  '.flv',
)
# After a jump into the middle, a codec needs a moment to get its sound right.
_SECONDS_BEFORE_START = 0.5
# What is decoded of one file at most: a small file may hold very much.
_MOST_SAMPLES = 2**28
_MOST_FRAME_BYTES = 2**31
_MOST_PIXELS = 2**25
# Samples beyond are clipped, as a player does; much larger ones are of a scale
# that is not known.
_LOUDEST = 4.0
# Of a pixel's width to its height, as far as films have them.
_LONGEST_PIXEL = 8


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
  return MediaHeader(*stated(path))


@done_apart
def stated(path: Path) -> tuple[float | None, int | None, int | None]:
  """Returns the values of `read_header`."""
  with opened(path) as container:
    audio, video = container.streams.audio, container.streams.video
    length = container.duration
    return (
      None if length is None else length / av.time_base,
      first_stream(audio, 'sound', path).rate if audio else None,
      min(_shown_size(first_stream(video, 'video', path))) if video else None,
    )


@done_apart
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
    ValueError: the file is not media, has no sound, is damaged, ends before
      `start`, is very long, or has samples that are no sound.
  """
  _check_interval(start, end)
  with opened(path) as container:
    stream = first_stream(container.streams.audio, 'sound', path)
    seconds = _seconds_to_read(container, stream, start, end, path)
    _check_samples_fit(seconds * sample_rate, path)
    origin = _seek(container, start)
    resampler = av.AudioResampler(format='fltp', rate=sample_rate)
    chunks, first, last, count = [], None, 0.0, 0
    for frame in container.decode(stream):
      time = last if frame.time is None else frame.time - origin
      if end is not None and time >= end:
        break
      first = time if first is None else first
      last = time + frame.samples / frame.sample_rate
      chunks += resampler.resample(frame)
      count += frame.samples
      _check_samples_fit(
        count * max(1.0, sample_rate / frame.sample_rate), path
      )
    else:
      check_whole(container, stream, last, path)
    chunks += resampler.resample(None)
    samples = [chunk.to_ndarray().mean(axis=0) for chunk in chunks]
  if first is None or last <= start:
    raise ValueError(f'{path} has no sound after {start} s.')
  samples = np.concatenate([_silence(first - start, sample_rate), *samples])
  # What was decoded before `start` goes, and what is past `end`.
  skip = max(0, round((start - first) * sample_rate))
  stop = None if end is None else skip + round((end - start) * sample_rate)
  _check_samples(samples, path)
  return np.clip(samples[skip:stop], -1.0, 1.0).astype(np.float32)


def _check_samples_fit(count: float, path: Path) -> None:
  """Raises a ValueError where there are, or would be, very many samples."""
  if count > _MOST_SAMPLES:
    raise ValueError(
      f'{path} is too long: more than {_MOST_SAMPLES:,} samples of sound. Cut '
      'it into parts.'
    )


def _check_samples(samples: np.ndarray, path: Path) -> None:
  """Raises a ValueError where floating-point samples are no sound."""
  loudest = np.abs(samples).max(initial=0.0)
  # NaN is not less than anything.
  if not loudest <= _LOUDEST:
    raise ValueError(
      f'{path} has samples up to {loudest:g}, and those of a sound are from -1 '
      'to 1. Divide them by their scale, or take it out.'
    )


@done_apart
def has_video(path: Path) -> bool:
  """Returns whether a media file has frames, besides a picture of its cover.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file is not media.
  """
  with opened(path) as container:
    return bool(films(container))


@done_apart
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
    short_side: of the result, in pixels; the aspect stays that of the film as
      it is shown. None is its size.
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
  with opened(path) as container:
    stream = first_stream(films(container), 'video', path)
    size = _size(stream, short_side, path)
    seconds = _seconds_to_read(container, stream, start, end, path)
    _check_frames_fit(3 * size[0] * size[1] * seconds * frame_rate, path)
    origin = _seek(container, start)
    result: list[np.ndarray] = []
    held, shown, last = None, 0.0, 0.0  # A frame, from when to when.
    for frame in container.decode(stream):
      time = last if frame.time is None else frame.time - origin
      if held is not None:
        middle = (shown + time) / 2
        until = (middle - start) * frame_rate
        _repeat(held, result, until, size, path)
      held, shown = frame, time
      last = time + _frame_seconds(frame, stream)
      if end is not None and time >= end:
        break
    else:
      check_whole(container, stream, last, path)
    if held is None or last <= start:
      raise ValueError(f'{path} has no frames after {start} s.')
    length = last if end is None else min(last, end)
    count = max(1, round((length - start) * frame_rate))
    _repeat(held, result, count - 1, size, path)
  return np.stack(result[:count])


def _repeat(
  frame: av.VideoFrame,
  result: list[np.ndarray],
  until: float,
  size: tuple[int, int],
  path: Path,
) -> None:
  """Appends a frame for every index up to `until`, converted once."""
  if len(result) > until:
    return
  pixels = _pixels(frame, size)
  _check_frames_fit((until + 1) * pixels.nbytes, path)
  while len(result) <= until:
    result.append(pixels)


def _check_frames_fit(num_bytes: float, path: Path) -> None:
  """Raises a ValueError where frames take, or would take, much memory."""
  if num_bytes > _MOST_FRAME_BYTES:
    raise ValueError(
      f'{path} is too long: its frames take more than '
      f'{_MOST_FRAME_BYTES / 1e9:.1f} GB. Cut it into parts, or take smaller '
      'frames, or fewer a second.'
    )


def _seconds_to_read(
  container: av.container.InputContainer,
  stream: Any,
  start: float,
  end: float | None,
  path: Path,
) -> float:
  """Returns how long a part is, as far as the file's header states it."""
  seconds = stated_seconds(container, stream, path) or 0.0
  return (seconds if end is None else min(seconds, end)) - start


def _shown_size(stream: Any) -> tuple[int, int]:
  """Returns the width and height that a player shows: pixels may be oblong."""
  shape = float(stream.sample_aspect_ratio or 1)
  if not 1 / _LONGEST_PIXEL <= shape <= _LONGEST_PIXEL:
    shape = 1.0
  return round(stream.width * shape), stream.height


def _size(stream: Any, short_side: int | None, path: Path) -> tuple[int, int]:
  """Returns the width and height of frames, before they are turned."""
  width, height = _shown_size(stream)
  if not 0 < width * height <= _MOST_PIXELS:
    raise ValueError(
      f'{path} has frames of {width:,} x {height:,} pixels, and up to '
      f'{_MOST_PIXELS:,} are read. Make it smaller, or take it out.'
    )
  if short_side is None:
    return width, height
  scale = short_side / min(width, height)
  return round(width * scale), round(height * scale)


def _pixels(frame: av.VideoFrame, size: tuple[int, int]) -> np.ndarray:
  """Converts a frame to uint8 RGB `[H, W, 3]`, upright."""
  pixels = frame.reformat(*size, format='rgb24').to_ndarray()
  # Telephones store frames as the sensor saw them, and say how to turn them;
  # cameras that show oneself also mirror them.
  matrix = frame.side_data.get('DISPLAYMATRIX')
  if matrix is None:
    return pixels
  right, down = np.frombuffer(bytes(matrix), np.int32)[[0, 1, 3, 4]].reshape(
    2, 2
  )
  if abs(right[0]) < abs(right[1]):
    pixels = pixels.transpose(1, 0, 2)
    right, down = down, right
  return pixels[:: -1 if down[1] < 0 else 1, :: -1 if right[0] < 0 else 1]


def _frame_seconds(frame: av.VideoFrame, stream: Any) -> float:
  if frame.duration and frame.time_base:
    return float(frame.duration * frame.time_base)
  rate = stream.average_rate or stream.guessed_rate
  return float(1 / rate) if rate else 0.0


def _seek(container: av.container.InputContainer, start: float) -> float:
  """Goes to a place before `start` and returns the time of the file's start."""
  origin = (container.start_time or 0) / av.time_base
  before = start - _SECONDS_BEFORE_START
  if before > 0:
    container.seek(int((origin + before) * av.time_base))
  return origin


def _silence(seconds: float, sample_rate: int) -> np.ndarray:
  return np.zeros(max(0, round(seconds * sample_rate)), np.float32)


def _check_interval(start: float, end: float | None) -> None:
  if start < 0.0 or (end is not None and end <= start):
    raise ValueError(f'The part from {start} to {end} s is empty.')
