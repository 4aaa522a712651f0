"""Films, frames with their sound: read at given rates, cut, and written."""

import fractions
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import av
import numpy as np

from experiments.files.media import (
  decode_audio,
  decode_frames,
  read_header,
)

# Of a person's film; what comes after is not read.
MOST_SECONDS = 20.0
# Of the quality; 18 is said not to be told from the original.
_CONSTANT_RATE_FACTOR = '16'
_SOUND_BITS_PER_SECOND = 128_000
# Of a packet of sound, where a codec does not say.
_SAMPLES_AT_ONCE = 1024
# Rates such as 30000 / 1001 Hz are fractions.
_LARGEST_DENOMINATOR = 1001


class Film(NamedTuple):
  """Frames with their sound.

  Attributes:
    frames: uint8 RGB `[F, H, W, 3]`.
    samples: float32 in [-1, 1], as long as the frames.
  """

  frames: np.ndarray
  samples: np.ndarray


def read_film(
  path: pathlib.Path,
  *,
  frame_rate: int,
  sample_rate: int,
  short_side: int,
  start: float = 0.0,
  end: float | None = None,
  silent: bool = False,
) -> Film:
  """Reads a film.

  Args:
    path: of a media file.
    frame_rate: of the result, in Hz.
    sample_rate: of the result, in Hz, a multiple of the frame rate.
    short_side: of the frames, in pixels.
    start: of the part to read, in seconds.
    end: of the part; None or a time past the end is the end of the film.
    silent: whether a file without sound is a silent film.

  Returns:
    The film; silence where its sound ends before its frames.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file cannot be decoded, has no frames, or has no sound where
      it should.
  """
  frames = decode_frames(
    path, frame_rate=frame_rate, short_side=short_side, start=start, end=end
  )
  num_samples = len(frames) * sample_rate // frame_rate
  if silent and read_header(path).sample_rate is None:
    return Film(frames, np.zeros(num_samples, np.float32))
  samples = decode_audio(path, sample_rate, start=start, end=end)
  missing = max(0, num_samples - samples.size)
  return Film(frames, np.pad(samples, (0, missing))[:num_samples])


def clip_starts(film: Film, num_frames: int, path: pathlib.Path) -> range:
  """Returns the first frames of the clips of a film, one after the other.

  Frames at its end that are fewer than a clip are left out.

  Args:
    film: to cut.
    num_frames: of a clip.
    path: of the film, for the message.

  Raises:
    ValueError: the film is shorter than a clip.
  """
  if len(film.frames) < num_frames:
    raise ValueError(
      f'{path} has {len(film.frames)} frames at the rate of the model, which '
      f'takes {num_frames}.'
    )
  return range(0, len(film.frames) - num_frames + 1, num_frames)


def write_film(
  path: pathlib.Path,
  frames: np.ndarray,
  frame_rate: float,
  *,
  samples: np.ndarray | None = None,
  sample_rate: float = 48_000,
) -> None:
  """Writes an mp4 that browsers and players show: H.264 and AAC.

  Args:
    path: of the file, NAME.mp4.
    frames: uint8 RGB `[F, H, W, 3]`. The codec wants even sides: the last row
      and column are repeated where they are odd.
    frame_rate: in Hz.
    samples: `[T]` in [-1, 1]; None for no sound.
    sample_rate: in Hz, a whole number that AAC knows, such as 16,000 or 48,000.
  """
  odd = [(0, side % 2) for side in frames.shape[1:3]]
  frames = np.pad(frames, ((0, 0), *odd, (0, 0)), mode='edge')
  with av.open(str(path), 'w', options={'movflags': '+faststart'}) as container:
    video = container.add_stream(
      'libx264',
      rate=fractions.Fraction(frame_rate).limit_denominator(
        _LARGEST_DENOMINATOR
      ),
      options={'crf': _CONSTANT_RATE_FACTOR},
    )
    video.height, video.width = frames.shape[1:3]
    video.pix_fmt = 'yuv420p'
    sound = None
    if samples is not None:
      sound = container.add_stream('aac', rate=int(sample_rate), layout='mono')
      sound.bit_rate = _SOUND_BITS_PER_SECOND
    for pixels in frames:
      frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), 'rgb24')
      container.mux(video.encode(frame))
    container.mux(video.encode(None))
    if sound is not None:
      size = sound.codec_context.frame_size or _SAMPLES_AT_ONCE
      for packet in _packets(samples, int(sample_rate), size):
        container.mux(sound.encode(packet))
      container.mux(sound.encode(None))


def _packets(
  samples: np.ndarray, sample_rate: int, size: int
) -> Iterator[av.AudioFrame]:
  """Yields sound in parts of `size` samples; the last may be shorter."""
  samples = np.clip(samples, -1.0, 1.0).astype(np.float32)
  for start in range(0, len(samples), size):
    part = np.ascontiguousarray(samples[None, start : start + size])
    packet = av.AudioFrame.from_ndarray(part, 'fltp', 'mono')
    packet.sample_rate, packet.pts = sample_rate, start
    packet.time_base = fractions.Fraction(1, sample_rate)
    yield packet
