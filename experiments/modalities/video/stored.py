"""Videos with their sound, as they are stored in a prepared data set.

Frames are JPEG files one by one, so that a clip is decoded without the frames
before it; sound is 16-bit samples that begin and end with the frames.
"""

import collections
import itertools
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import Any

import cv2
import numpy as np
import tensorflow_datasets as tfds

from experiments.data.dataset import Example
from experiments.files.features import array_feature
from experiments.modalities.images.augmentation import decode
from experiments.modalities.sound.augmentation import decode_int16, encode_int16
from experiments.modalities.video.files import read_film

_JPEG_QUALITY = 90
# Videos that a thread may be ahead of the one that is being written.
_AHEAD_OF_A_THREAD = 2


def video_features() -> dict[str, Any]:
  """Returns the TFDS features of `read_video`; none needs TensorFlow."""
  return {
    'frames': tfds.features.Sequence(tfds.features.Text()),
    'audio': array_feature(shape=(None,), dtype=np.int16),
  }


def read_video(
  path: pathlib.Path,
  *,
  frame_rate: int,
  sample_rate: int,
  short_side: int,
  start: float = 0.0,
  end: float | None = None,
) -> Example:
  """Reads a video with its sound as it is to be stored.

  Args:
    path: of a media file.
    frame_rate: of the result, in Hz.
    sample_rate: of the result, in Hz, a multiple of the frame rate.
    short_side: of the frames, in pixels.
    start: of the part to read, in seconds.
    end: of the part; None or a time past the end is the end of the video.

  Returns:
    `frames`, JPEG files, and `audio` int16 `[F sample_rate / frame_rate]`:
    silence where the sound ends before the frames.

  Raises:
    ValueError: the file cannot be decoded, or has no frames or no sound.
  """
  film = read_film(
    path,
    frame_rate=frame_rate,
    sample_rate=sample_rate,
    short_side=short_side,
    start=start,
    end=end,
  )
  return {
    'frames': [_encode(frame) for frame in film.frames],
    'audio': encode_int16(film.samples),
  }


def stored_frames(
  example: Example, start: int, num_frames: int, name: str
) -> list[np.ndarray]:
  """Decodes frames of a stored video.

  Args:
    example: as stored.
    start: the first frame.
    num_frames: to decode.
    name: of the video, for the error message.

  Returns:
    uint8 `[H, W, 3]` each.

  Raises:
    ValueError: a frame does not decode.
  """
  encoded = example['frames'][start : start + num_frames]
  return [decode(frame, name) for frame in encoded]


def stored_sound(example: Example, start: int, num_samples: int) -> np.ndarray:
  """Returns samples of a stored video, float32 `[num_samples]` in [-1, 1]."""
  return decode_int16(example['audio'][start : start + num_samples])


def in_threads(
  function: Callable[[Any], Any], items: Iterable[Any]
) -> Iterator[Any]:
  """Yields results in order, computed by as many threads as there are cores.

  FFmpeg and OpenCV let other Python threads run while they decode and encode.
  No more than a few results are ahead of the one that is taken.

  Args:
    function: of an item.
    items: any number of them.
  """
  items, workers = iter(items), os.cpu_count() or 1
  with futures.ThreadPoolExecutor(workers) as pool:
    pending = collections.deque(
      pool.submit(function, item)
      for item in itertools.islice(items, _AHEAD_OF_A_THREAD * workers)
    )
    while pending:
      yield pending.popleft().result()
      pending.extend(
        pool.submit(function, item) for item in itertools.islice(items, 1)
      )


def _encode(frame: np.ndarray) -> bytes:
  options = (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY)
  _, encoded = cv2.imencode('.jpg', frame[..., ::-1], options)
  return encoded.tobytes()
