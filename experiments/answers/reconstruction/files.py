"""Reconstructions as films and pictures beside what was put in."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.answers.reconstruction.value import Reconstruction
from experiments.data.modality import View
from experiments.modalities.sound.view import Sound
from experiments.modalities.video.drawing import draw_clip, film_frames
from experiments.modalities.video.files import write_film
from experiments.modalities.video.view import Video
from experiments.pages.pictures import write_picture

# Of a film in a picture, evenly spread.
_MOST_FRAMES = 8


def write(
  answer: Reconstruction, folder: pathlib.Path, name: str
) -> list[pathlib.Path]:
  """Writes a picture and, where there is a video, the film and the original.

  Args:
    answer: what is written.
    folder: the folder to write to; made if need be.
    name: name of the files, without their endings.

  Returns:
    The files.
  """
  folder.mkdir(parents=True, exist_ok=True)
  picture = folder / f'{name}.png'
  original, made = (
    {key: _some_frames(view) for key, view in views.items()}
    for views in (answer.original, answer.reconstruction)
  )
  write_picture(draw_clip(original, made), picture)
  before, after = (
    _first(views, Video) for views in (answer.original, answer.reconstruction)
  )
  if after is None:
    return [picture]
  film, film_before = folder / f'{name}.mp4', folder / f'{name}_original.mp4'
  _write_film(film, (before, after), _first(answer.reconstruction, Sound))
  _write_film(film_before, (before,), _first(answer.original, Sound))
  return [film, film_before, picture]


def _first(views: Mapping[str, View], kind: type) -> Any:
  return next((view for view in views.values() if isinstance(view, kind)), None)


def _write_film(
  path: pathlib.Path, videos: Sequence[Video], sound: Sound | None
) -> None:
  """Writes videos side by side, with a sound."""
  frames, rate = film_frames(*videos), videos[0].rate
  if sound is None:
    write_film(path, frames, rate)
  else:
    write_film(
      path, frames, rate, samples=sound.samples, sample_rate=sound.rate
    )


def _some_frames(view: View) -> View:
  """Returns a few frames of a video, evenly spread; other views as they are."""
  if not isinstance(view, Video) or len(view.frames) <= _MOST_FRAMES:
    return view
  chosen = np.linspace(0, len(view.frames) - 1, _MOST_FRAMES).round()
  return view._replace(frames=view.frames[chosen.astype(int)])
