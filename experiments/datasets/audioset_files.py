"""A person's recording as the clips that AudioSet's held-out ones are cut into.

Beside the data set, what it is called: the names of its classes come with its
lists, which are the user's to get.
"""

import pathlib
from collections.abc import Sequence

import numpy as np

from experiments.data.dataset import Example, Files
from experiments.data.modality import View
from experiments.files.media import (
  SOUND_EXTENSIONS,
  VIDEO_EXTENSIONS,
  decode_audio,
  decode_frames,
)
from experiments.files.windows import MOST_WINDOWS
from experiments.modalities.images.view import to_pixels
from experiments.modalities.sound.view import Sound, to_samples
from experiments.modalities.video.augmentation import centre_frames, even_starts
from experiments.modalities.video.view import Video

FRAME_RATE = 25
SAMPLE_RATE = 48_000
SAMPLES_PER_FRAME = SAMPLE_RATE // FRAME_RATE
SHORT_SIDE = 256
# A minute of frames is a gigabyte of clips.
_LONGEST_SECONDS = 30.0


def recording_files(
  *,
  modalities: Sequence[str],
  num_frames: int,
  image_size: int,
  evaluation_clips: int,
) -> Files:
  """Returns how a media file becomes clips, spread evenly over its first 30 s.

  They are as many as of a held-out recording, more where they would leave gaps.

  Args:
    modalities: 'audio', 'video' or both.
    num_frames: of a clip.
    image_size: side of a frame, in pixels.
    evaluation_clips: of each held-out recording.
  """

  def read(path: pathlib.Path) -> list[Example]:
    arrays = _decode(path, modalities)
    length = _num_frames(arrays)
    if length < num_frames:
      raise ValueError(
        f'{path} has {length / FRAME_RATE:g} s; a clip has '
        f'{num_frames / FRAME_RATE:g}.'
      )
    count = max(evaluation_clips, -(-length // num_frames))
    starts = even_starts(length, num_frames, min(count, MOST_WINDOWS))
    return [
      _clip(arrays, int(start), num_frames, image_size)
      for start in np.unique(starts)
    ]

  extensions = VIDEO_EXTENSIONS
  if 'video' not in modalities:
    extensions = (*SOUND_EXTENSIONS, *VIDEO_EXTENSIONS)
  return Files(extensions, read)


def view_clip(example: Example) -> dict[str, View]:
  """See `DataSpec.view`."""
  views: dict[str, View] = {}
  if 'audio' in example:
    views['audio'] = Sound(to_samples(example['audio']), SAMPLE_RATE)
  if 'video' in example:
    views['video'] = Video(to_pixels(example['video']), FRAME_RATE)
  return views


def _decode(path: pathlib.Path, modalities: Sequence[str]) -> Example:
  """Sound `[T]` and frames uint8 `[F, H, W, 3]` from the start of a file."""
  arrays = {}
  if 'audio' in modalities:
    arrays['audio'] = decode_audio(path, SAMPLE_RATE, end=_LONGEST_SECONDS)
  if 'video' in modalities:
    arrays['video'] = decode_frames(
      path,
      frame_rate=FRAME_RATE,
      short_side=SHORT_SIDE,
      end=_LONGEST_SECONDS,
    )
  return arrays


def _num_frames(arrays: Example) -> int:
  if 'video' in arrays:
    return len(arrays['video'])
  return len(arrays['audio']) // SAMPLES_PER_FRAME


def _clip(
  arrays: Example, start: int, num_frames: int, image_size: int
) -> Example:
  """Cuts a clip out; silence stands where the sound ends before the frames."""
  clip = {}
  if 'audio' in arrays:
    first, size = (n * SAMPLES_PER_FRAME for n in (start, num_frames))
    samples = arrays['audio'][first : first + size]
    clip['audio'] = np.pad(samples, (0, size - len(samples)))
  if 'video' in arrays:
    frames = arrays['video'][start : start + num_frames]
    clip['video'] = centre_frames(frames, image_size)
  return clip
