"""Pictures and sounds as data that stands in a page itself."""

import base64
import io
import wave
from collections.abc import Sequence

import numpy as np
import PIL.Image

# A picture of at most so many pixels a side is kept exactly.
_SMALL = 128
_QUALITY = 85


def picture_data(pixels: np.ndarray) -> str:
  """Returns a picture as a data URI: PNG where it is small, else WebP.

  Args:
    pixels: uint8 `[H, W, 3]`, or `[H, W, 4]` with opacity.
  """
  picture = PIL.Image.fromarray(np.ascontiguousarray(pixels))
  file = io.BytesIO()
  if max(pixels.shape[:2]) <= _SMALL:
    picture.save(file, 'PNG', optimize=True)
    return _uri('image/png', file)
  picture.save(file, 'WEBP', quality=_QUALITY)
  return _uri('image/webp', file)


def moving_data(frames: Sequence[np.ndarray], rate: float) -> str:
  """Returns frames as a data URI of a WebP picture that moves, again and again.

  Browsers play it without a script and without a player.

  Args:
    frames: uint8 `[H, W, 3]`, or `[H, W, 4]` with opacity; small
      ones, and drawings with opacity, are kept exactly.
    rate: frames a second.
  """
  first, *rest = [PIL.Image.fromarray(np.ascontiguousarray(x)) for x in frames]
  file = io.BytesIO()
  first.save(
    file,
    'WEBP',
    save_all=True,
    append_images=rest,
    duration=max(20, round(1000 / rate)),
    loop=0,
    lossless=max(frames[0].shape[:2]) <= _SMALL or frames[0].shape[-1] == 4,
    quality=_QUALITY,
  )
  return _uri('image/webp', file)


def sound_data(samples: np.ndarray, rate: float) -> str:
  """Returns a sound as a data URI of a WAV file of 16 bits.

  Args:
    samples: `[T]` in [-1, 1].
    rate: samples a second.
  """
  values = np.rint(np.clip(samples, -1.0, 1.0) * 32767).astype('<i2')
  file = io.BytesIO()
  with wave.open(file, 'wb') as sound:
    sound.setnchannels(1)
    sound.setsampwidth(2)
    sound.setframerate(max(1, round(rate)))
    sound.writeframes(values.tobytes())
  return _uri('audio/wav', file)


def _uri(kind: str, file: io.BytesIO) -> str:
  return f'data:{kind};base64,{base64.b64encode(file.getvalue()).decode()}'
