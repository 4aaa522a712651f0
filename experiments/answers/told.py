"""Answers of models as lines to read, as JSON, and as files."""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.answers.kinds import (
  Answer,
  Classes,
  FilledText,
  Flow,
  Judgements,
  Reconstruction,
)
from experiments.data.modality import View
from experiments.modalities.frames.drawing import draw_flow
from experiments.modalities.frames.files import format_flo
from experiments.modalities.sound.view import Sound
from experiments.modalities.video.drawing import draw_clip, film_frames
from experiments.modalities.video.files import write_film
from experiments.modalities.video.view import Video
from experiments.pages.pictures import write_picture

_BAR_WIDTH = 30
# Of a film in a picture, evenly spread.
_MOST_FRAMES = 8


@functools.singledispatch
def lines_of(answer: Answer, top: int) -> list[str]:
  """Returns lines to read.

  Args:
    answer: of a model.
    top: likeliest classes, or characters, to name.
  """
  raise TypeError(f'An answer of type {type(answer).__name__} has no lines.')


@functools.singledispatch
def json_of(answer: Answer, top: int) -> dict[str, Any]:
  """Returns what `json.dumps` takes; see `lines_of`."""
  raise TypeError(f'An answer of type {type(answer).__name__} has no JSON.')


@functools.singledispatch
def write_answer(
  answer: Answer, folder: pathlib.Path, name: str
) -> list[pathlib.Path]:
  """Writes what cannot be told in lines; returns the files.

  Args:
    answer: of a model.
    folder: to write to; made if need be.
    name: of the files, without their endings.
  """
  del answer, folder, name
  return []


@lines_of.register
def _(answer: Classes, top: int) -> list[str]:
  classes = answer.top(top)
  width = max(len(name) for name, _ in classes)
  return [
    f'{probability:6.1%}  {name:{width}}  {_bar(probability)}'.rstrip()
    for name, probability in classes
  ]


def _bar(probability: float) -> str:
  return '█' * round(_BAR_WIDTH * probability)


@json_of.register
def _(answer: Classes, top: int) -> dict[str, Any]:
  return {
    'classes': [
      {'name': name, 'probability': probability}
      for name, probability in answer.top(top)
    ]
  }


# Texts.


@lines_of.register
def _(answer: FilledText, top: int) -> list[str]:
  lines, end = [], 0
  text = ''
  for blank in answer.blanks:
    filled = answer.text[blank.start : blank.end]
    text += f'{answer.text[end : blank.start]}[{filled}]'
    end = blank.end
    for choices in blank.top(top):
      lines.append(
        '   '.join(
          f'{byte_name(value)} {probability:.1%}'
          for value, probability in choices
        )
      )
  return [text + answer.text[end:], *lines]


@json_of.register
def _(answer: FilledText, top: int) -> dict[str, Any]:
  return {
    'text': answer.text,
    'blanks': [
      {
        'start': blank.start,
        'end': blank.end,
        'bytes': [
          [
            {'byte': value, 'name': byte_name(value), 'probability': chance}
            for value, chance in choices
          ]
          for choices in blank.top(top)
        ],
      }
      for blank in answer.blanks
    ],
  }


def byte_name(value: int) -> str:
  r"""Returns a byte as it may be read: `a`, `␣` for a blank, `\xc3`."""
  if value == ord(' '):
    return '␣'
  character = bytes([value])
  return chr(value) if 0x20 < value < 0x7F else repr(character)[2:-1]


@lines_of.register
def _(answer: Judgements, top: int) -> list[str]:
  lines = []
  for task, classes in answer.classes.items():
    lines += [task, *(f'  {line}' for line in lines_of(classes, top))]
  return [*lines, *(f'{task} {x:.2f}' for task, x in answer.values.items())]


@json_of.register
def _(answer: Judgements, top: int) -> dict[str, Any]:
  return {
    'tasks': {
      **{task: json_of(each, top) for task, each in answer.classes.items()},
      **{task: {'value': value} for task, value in answer.values.items()},
    }
  }


# Flow.


@lines_of.register
def _(answer: Flow, top: int) -> list[str]:
  motion = json_of(answer, top)['motion']
  right, down = motion['mean']
  across, along = ('left', 'right')[right > 0], ('up', 'down')[down > 0]
  return [
    f'motion: {motion["median"]:.2f} pixels in the median, '
    f'{motion["fastest"]:.2f} at most; on average {abs(right):.2f} {across} '
    f'and {abs(down):.2f} {along}'
  ]


@json_of.register
def _(answer: Flow, top: int) -> dict[str, Any]:
  del top
  speed = np.linalg.norm(answer.flow, axis=-1)
  return {
    'motion': {
      'median': float(np.median(speed)),
      'fastest': float(speed.max()),
      'mean': answer.flow.mean(axis=(0, 1), dtype=np.float64).tolist(),
    }
  }


@write_answer.register
def _(answer: Flow, folder: pathlib.Path, name: str) -> list[pathlib.Path]:
  folder.mkdir(parents=True, exist_ok=True)
  picture, flo, arrays = (
    folder / f'{name}.{ending}' for ending in ('png', 'flo', 'npz')
  )
  write_picture(draw_flow(answer.frames, answer.flow), picture)
  flo.write_bytes(format_flo(answer.flow))
  np.savez_compressed(arrays, flow=answer.flow)
  return [picture, flo, arrays]


# Films.


@lines_of.register
def _(answer: Reconstruction, top: int) -> list[str]:
  lines = [
    f'{name}: {ratio:.1f} dB of the original'
    for name, ratio in answer.decibels.items()
  ]
  return lines + (lines_of(answer.classes, top) if answer.classes else [])


@json_of.register
def _(answer: Reconstruction, top: int) -> dict[str, Any]:
  return {
    'decibels': dict(answer.decibels),
    **(json_of(answer.classes, top) if answer.classes else {}),
  }


@write_answer.register
def _(
  answer: Reconstruction, folder: pathlib.Path, name: str
) -> list[pathlib.Path]:
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
