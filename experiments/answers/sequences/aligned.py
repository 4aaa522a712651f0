"""Answers of elements, cut and changed as their input is.

Shapes: T steps of a series as it is kept, W of an example, C channels.
"""

from typing import Any

import numpy as np

from experiments.answers.head import Options
from experiments.data.dataset import Example
from experiments.modalities.series.augmentation import augment_steps
from experiments.modalities.text.examples import (
  crop_ends,
  random_ends,
  random_size,
)

# Second and later bytes of a character of UTF-8 begin with these bits.
_MARK, _CONTINUES = 0xC0, 0x80


def aligned_series(
  asks: Options,
  kept: Example,
  steps: np.ndarray,
  unknown: Any,
  rng: np.random.Generator | None,
) -> tuple[Example, np.ndarray]:
  """Changes a series as `series_files` does in training, and its steps.

  Args:
    asks: options of `series_files`.
    kept: with `series` `[T, C]`.
    steps: `[T]`, of each step.
    unknown: what stands past the end of the series.
    rng: None for the window that `prepare` takes, of the series as it is.

  Returns:
    What is kept of the window, and `[W]` of its steps.

  Raises:
    ValueError: the series has another number of steps.
  """
  series, size = kept['series'], asks['num_steps']
  if len(steps) != len(series):
    raise ValueError(
      f'There are {len(steps):,} answers for {len(series):,} steps of the '
      'series: expected is one a step, and null where it is not known.'
    )
  found = np.full(size, unknown, steps.dtype)
  if rng is None:
    start = max(0, (len(series) - size) // 2)
    window = steps[start : start + size]
    found[: len(window)] = window
    return kept, found
  values, inside, nearest = augment_steps(
    series,
    rng,
    num_steps=size,
    max_speed_change=asks['max_speed_change'],
    max_scale=asks['max_scale'],
    noise=asks['noise'],
  )
  found[inside] = steps[nearest[inside]]
  return {**kept, 'series': values[inside]}, found


def aligned_text(
  asks: Options,
  kept: Example,
  spans: np.ndarray,
  unknown: int,
  rng: np.random.Generator | None,
) -> tuple[Example, np.ndarray]:
  """Crops a text as `text_files` does, and says of which class each byte is.

  Args:
    asks: options of `text_files`.
    kept: with `text`, bytes.
    spans: int `[n, 3]`, first character, the one behind the last, and class.
    unknown: what stands past the end of the text; 0 is in no span.
    rng: None for the beginning, which `prepare` takes.

  Returns:
    The part of the text, and int32 `[length]` of its bytes.

  Raises:
    ValueError: a span ends behind the text.
  """
  text, length = kept['text'], asks['length']
  classes = byte_classes(text, spans)
  if rng is None:
    start, stop = crop_ends(text, 0, length)
  else:
    size = random_size(asks['min_share'], length, rng)
    start, stop = random_ends(text, size, rng)
  found = np.full(length, unknown, np.int32)
  found[: stop - start] = classes[start:stop]
  return {**kept, 'text': text[start:stop]}, found


def byte_classes(text: bytes, spans: np.ndarray) -> np.ndarray:
  """Returns the class of each byte, int32, 0 outside of spans.

  Args:
    text: UTF-8.
    spans: see `aligned_text`.

  Raises:
    ValueError: a span ends behind the text.
  """
  values = np.frombuffer(text, np.uint8)
  places = np.append(np.flatnonzero(values & _MARK != _CONTINUES), len(values))
  num_characters = len(places) - 1
  classes = np.zeros(len(values), np.int32)
  for start, end, which in spans:
    if end > num_characters:
      raise ValueError(
        f'A part ends at character {end}, and the text has '
        f'{num_characters:,}: parts count characters from 0, without white '
        'space before the text.'
      )
    classes[places[start] : places[end]] = which
  return classes
