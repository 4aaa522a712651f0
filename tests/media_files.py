"""Small media files for tests, encoded by PyAV."""

import fractions
import math
import pathlib

import av
import cv2
import numpy as np

# By suffix: (video, audio).
CODECS = {
  '.mp4': ('libx264', 'aac'),
  '.webm': ('libvpx', 'libopus'),
  '.mkv': ('mpeg4', 'libmp3lame'),
  '.avi': ('mpeg4', 'pcm_s16le'),
  '.wav': (None, 'pcm_s16le'),
  '.flac': (None, 'flac'),
  '.ogg': (None, 'libopus'),
  '.mp3': (None, 'libmp3lame'),
}

# Of the ten frames of `write_tone`.
GREYS = np.linspace(30, 210, 10).round()
TONE_SECONDS = 10 / 25


def write_media(
  path: pathlib.Path,
  *,
  frames: np.ndarray | None = None,
  frame_rate: float = 25,
  samples: np.ndarray | None = None,
  sample_rate: int = 48_000,
) -> pathlib.Path:
  """Encodes frames uint8 `[F, H, W, 3]` and samples float32 `[channels, T]`."""
  video_codec, audio_codec = CODECS[path.suffix]
  with av.open(str(path), 'w') as container:
    video = audio = None
    if frames is not None:
      rate = fractions.Fraction(frame_rate).limit_denominator(1001)
      video = container.add_stream(video_codec, rate=rate)
      video.height, video.width = frames.shape[1:3]
      video.pix_fmt = 'yuv420p'
      video.bit_rate = 2_000_000  # Colours stay, of frames this small.
    if samples is not None:
      layout = {1: 'mono', 2: 'stereo'}[len(samples)]
      audio = container.add_stream(audio_codec, rate=sample_rate, layout=layout)
    if frames is not None:
      for pixels in frames:
        frame = av.VideoFrame.from_ndarray(pixels, 'rgb24')
        container.mux(video.encode(frame))
      container.mux(video.encode(None))
    if samples is not None:
      for frame in audio_frames(samples, sample_rate, layout, audio):
        container.mux(audio.encode(frame))
      container.mux(audio.encode(None))
  return path


def audio_frames(samples, sample_rate, layout, stream):
  """Cuts samples `[C, T]` into frames as the codec wants them."""
  whole = av.AudioFrame.from_ndarray(samples, 'fltp', layout)
  whole.sample_rate = sample_rate
  resampler = av.AudioResampler(stream.format, layout, sample_rate)
  fifo = av.AudioFifo()
  for frame in resampler.resample(whole):
    frame.pts = None
    fifo.write(frame)
  position = 0
  while frame := fifo.read(stream.frame_size or 1024, partial=True):
    frame.pts, frame.sample_rate = position, sample_rate
    frame.time_base = fractions.Fraction(1, sample_rate)
    position += frame.samples
    yield frame


def sine(frequency: float, seconds: float, sample_rate: int) -> np.ndarray:
  """Returns `[T]` float32 of amplitude a half."""
  times = np.arange(round(seconds * sample_rate)) / sample_rate
  return (0.5 * np.sin(2 * np.pi * frequency * times)).astype(np.float32)


def grey_frames(greys, height: int = 32, width: int = 48) -> np.ndarray:
  """Returns frames uint8 `[F, height, width, 3]`, each of one grey."""
  greys = np.asarray(greys, np.uint8)[:, None, None, None]
  return np.broadcast_to(greys, (len(greys), height, width, 3)).copy()


def smooth_frames(count: int, height: int, width: int) -> np.ndarray:
  """Returns frames uint8 `[count, height, width, 3]` that a codec keeps."""
  rng = np.random.default_rng(3)
  small = rng.integers(0, 256, (count, 3, 4, 3)).astype(np.uint8)
  return np.stack(
    [
      cv2.resize(each, (width, height), interpolation=cv2.INTER_CUBIC)
      for each in small
    ]
  )


def write_tone(
  path: pathlib.Path,
  *,
  frames: np.ndarray | None = None,
  seconds: float | None = TONE_SECONDS,
  rate: int = 16_000,
) -> pathlib.Path:
  """Encodes a film with a tone of 500 Hz, or with none.

  Args:
    path: of the file.
    frames: uint8 `[F, H, W, 3]`; None for ten of 64 x 64, each of one grey.
    seconds: of the tone; None for a film without sound.
    rate: of the tone, in Hz.
  """
  samples = None if seconds is None else sine(500, seconds, rate)[None]
  frames = grey_frames(GREYS, 64, 64) if frames is None else frames
  return write_media(path, frames=frames, samples=samples, sample_rate=rate)


def psnr(peak: float, original: np.ndarray, made: np.ndarray) -> float:
  """Returns the peak signal-to-noise ratio, in decibels."""
  error = np.square(original.astype(np.float64) - made).mean()
  return 10 * math.log10(peak**2 / error)
