"""A table to try things with: four senses a row, made of embedded examples.

A row is a room: what is heard there (a spoken syllable of `tones.py`), how
somebody moves (a watch on the wrist, `watch.py`), a thing that stands there
(points, `furniture.py`) and a note (part of a paragraph, `declaration.py`);
besides an area, a building and the date of a visit. Each of these cells is
empty in a tenth of the rows, each answer in a twentieth. Test rows are made of
what the data sets hold out, syllables, people, models and paragraphs, and
validation rows of others again.

Of a row hold, each equally often and independently:

  voice: high or low, where the syllable begins (tones 1 and 4, or 2 and 3)
  arm: lift or turn, what it does
  thing: seat, table or cupboard
  family: Germanic, Romance or other, of the language of the note

and its answers are

  match: yes where (voice is high) = (arm is lift). Each sense alone: accuracy
    1/2, chance. Sound and motion together: 1.
  energy: 50 +- 4 (voice) +- 4 (arm) + 5, 0 or -5 (thing) + 5, 0 or -5 (family)
    + (area - 30) / 10 + 1, 0 or -1 (building) + 1.5 cos(2 pi day / 365) + noise
    of variance 1. Variances: 16 + 16 + 50/3 + 50/3 + 4/3 + 2/3 + 9/8 + 1 =
    69.46. R2 of rows that have the sense, alone: sound or motion 16 / 69.46 =
    0.23, furniture or note 0.24, all plain cells together 0.045; everything
    0.986, or nine tenths of that, 0.887, with the cells that are empty.
  tags: thing and family. Mean average precision of furniture or note alone: 1
    of their own three labels and 1/3, chance, of the others, so 2/3; sound or
    motion: 1/3.
"""

import datetime
import itertools
import math
import pathlib
import wave
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.datasets.declaration import Declaration
from experiments.datasets.examples.files import endless, write_rows
from experiments.datasets.furniture import Furniture
from experiments.datasets.tones import Tones
from experiments.datasets.watch import CLASSES as EXERCISES
from experiments.datasets.watch import Watch
from experiments.modalities.sound.augmentation import encode_int16

FACTORS: Mapping[str, Sequence[str]] = {
  'sound': ('high', 'low'),
  'motion': ('lift', 'turn'),
  'furniture': ('seat', 'table', 'cupboard'),
  'note': ('Germanic', 'Romance', 'other'),
}
INPUTS = (*FACTORS, 'area', 'building', 'visited')
ANSWERS = ('match', 'energy', 'tags')
# Times all combinations of the factors, of which there are 36.
ROUNDS = {'train': 30, 'val': 4, 'test': 8}
EFFECTS: Mapping[str, float] = {
  **{'high': 4.0, 'low': -4.0, 'lift': 4.0, 'turn': -4.0},
  **{'seat': 5.0, 'table': 0.0, 'cupboard': -5.0},
  **{'Germanic': 5.0, 'Romance': 0.0, 'other': -5.0},
  **{'north': 1.0, 'middle': 0.0, 'south': -1.0},
}
BUILDINGS = ('north', 'middle', 'south')
EMPTY_INPUTS, EMPTY_ANSWERS = 0.1, 0.05

# Not of the seed: who validates stays the same.
_SPLIT_SEED = 0
_VALIDATION_SHARE = 0.12
_SAMPLE_RATE = 8000
_LIFTS = ('ABD', 'FEL', 'TRAP', 'ROW')
# The beginning of a syllable, which tells whether its voice is high.
_SAMPLES = 3136
# Of motion: 4.8 s, written 8.33 times a second, each the mean of six.
_STEPS, _HOP, _MEAN = 240, 120, 6
_CHANNELS = ('ax', 'ay', 'az', 'gx', 'gy', 'gz')
_KINDS = {
  **{'chair': 'seat', 'sofa': 'seat', 'table': 'table'},
  **{'cabinet': 'cupboard', 'appliance': 'cupboard'},
}
_NUM_POINTS = 128
_GERMANIC = ('dan', 'deu_1996', 'eng', 'nld', 'nob', 'swe')
_ROMANCE = ('fra', 'ita', 'por_PT', 'spa')
_LETTERS = 60
_FIRST_DAY = datetime.date(2025, 1, 1)


class Thing(NamedTuple):
  """An embedded example.

  Attributes:
    name: of its file, from the folder of the table; of a text, where it is.
    group: whose examples are in one split: a syllable, a person, a model, a
      paragraph.
    factor: what the answers take of it, one of FACTORS.
    content: samples, motion, points or a text.
  """

  name: str
  group: str
  factor: str
  content: Any


def things() -> dict[str, dict[str, list[Thing]]]:
  """Returns the examples that rows may have, by split and sense."""
  found: dict[str, dict[str, list[Thing]]] = {split: {} for split in ROUNDS}
  for sense, examples in _EXAMPLES.items():
    known = list(examples('train'))
    apart = _validating(known)
    found['train'][sense] = [x for x in known if x.group not in apart]
    found['val'][sense] = [x for x in known if x.group in apart]
    found['test'][sense] = list(examples('test'))
  return found


def _validating(examples: Iterable[Thing]) -> frozenset[str]:
  groups = np.unique([each.group for each in examples])
  order = np.random.default_rng(_SPLIT_SEED).permutation(groups)
  return frozenset(order[: round(_VALIDATION_SHARE * groups.size) or 1])


def _sounds(split: str) -> Iterator[Thing]:
  for number, example in enumerate(Tones().examples(split)):
    tone = example['label'] + 1
    factor = 'high' if tone in (1, 4) else 'low'
    name = f'rooms/sounds/{split}{number}-tone{tone}.wav'
    yield Thing(name, example['syllable'], factor, example['audio'][:_SAMPLES])


def _motions(split: str) -> Iterator[Thing]:
  for number, example in enumerate(Watch().examples(split)):
    exercise, person = EXERCISES[example['label']], example['subject']
    factor = 'lift' if exercise in _LIFTS else 'turn'
    recording = example['motion']
    for start in range(0, len(recording) - _STEPS + 1, _HOP):
      name = f'person{person}-{exercise}-{number}-{start}'
      part = (
        recording[start : start + _STEPS].reshape(-1, _MEAN, 6).mean(axis=1)
      )
      yield Thing(f'rooms/motions/{name}.csv', str(person), factor, part)


def _shapes(split: str) -> Iterator[Thing]:
  for number, example in enumerate(Furniture().examples(split)):
    if example['label'] in _KINDS:
      name = f'{split}{number}-{example["label"]}'
      points = example['points'][:_NUM_POINTS] / 127.0
      factor = _KINDS[example['label']]
      yield Thing(f'rooms/furniture/{name}.xyz', name, factor, points)


def _texts(split: str) -> Iterator[Thing]:
  for example in Declaration().examples(split):
    language, paragraph = example['language'], str(example['paragraph'])
    factor = 'other'
    if language in (*_GERMANIC, *_ROMANCE):
      factor = 'Germanic' if language in _GERMANIC else 'Romance'
    yield Thing(f'{language}/{paragraph}', paragraph, factor, example['text'])


_EXAMPLES: Mapping[str, Callable[[str], Iterator[Thing]]] = {
  'sound': _sounds,
  'motion': _motions,
  'furniture': _shapes,
  'note': _texts,
}


def write_rooms(folder: pathlib.Path, seed: int) -> list[pathlib.Path]:
  """Writes rooms.csv, rooms_new.csv and the files that they name.

  Args:
    folder: to write into; it is there.
    seed: of all that is drawn.

  Returns:
    The two tables; the second has rows to predict, with few cells, and no
    answers.
  """
  rng = np.random.default_rng(seed)
  table, used, pools = [], {}, things()
  for split, rounds in ROUNDS.items():
    drawn = {
      (sense, factor): endless(
        [x for x in pools[split][sense] if x.factor == factor], rng
      )
      for sense, factors in FACTORS.items()
      for factor in factors
    }
    combinations = list(itertools.product(*FACTORS.values())) * rounds
    for number in rng.permutation(len(combinations)):
      chosen = {
        sense: next(drawn[sense, factor])
        for sense, factor in zip(FACTORS, combinations[number], strict=True)
      }
      row = {**_row(chosen, rng), 'split': split}
      table.append(row)
      used |= {x.name: x for x in chosen.values() if x.name in row.values()}
  for path in ('sounds', 'motions', 'furniture'):
    (folder / 'rooms' / path).mkdir(parents=True, exist_ok=True)
  for each in used.values():
    _write(folder / each.name, each.content)
  return [
    write_rows(folder / 'rooms.csv', (*INPUTS, *ANSWERS, 'split'), table),
    write_rows(folder / 'rooms_new.csv', INPUTS, _new_rows(table)),
  ]


def _row(
  chosen: Mapping[str, Thing], rng: np.random.Generator
) -> dict[str, str]:
  """Returns the cells of a row: some inputs and answers are ''."""
  voice, arm, thing, family = (chosen[sense].factor for sense in FACTORS)
  area, day = round(float(rng.uniform(10.0, 50.0)), 1), int(rng.integers(365))
  building = BUILDINGS[rng.integers(len(BUILDINGS))]
  energy = (
    50.0
    + sum(EFFECTS[each] for each in (voice, arm, thing, family, building))
    + (area - 30.0) / 10.0
    + 1.5 * math.cos(2.0 * math.pi * day / 365.0)
    + rng.normal()
  )
  inputs = {
    **{sense: each.name for sense, each in chosen.items()},
    'note': _part(chosen['note'].content, rng),
    'area': str(area),
    'building': building,
    'visited': (_FIRST_DAY + datetime.timedelta(days=day)).isoformat(),
  }
  answers = {
    'match': 'yes' if (voice == 'high') == (arm == 'lift') else 'no',
    'energy': f'{energy:.1f}',
    'tags': f'{thing}|{family}',
  }
  senses = ('',)
  while not any(senses):
    with_holes = _with_holes(inputs, EMPTY_INPUTS, rng)
    senses = [with_holes[sense] for sense in FACTORS]
  return {**with_holes, **_with_holes(answers, EMPTY_ANSWERS, rng)}


def _with_holes(
  cells: Mapping[str, str], rate: float, rng: np.random.Generator
) -> dict[str, str]:
  return {
    name: '' if rng.random() < rate else cell for name, cell in cells.items()
  }


def _part(text: str, rng: np.random.Generator) -> str:
  """Cuts whole words out of a text, _LETTERS long at most."""
  start = int(rng.integers(max(1, len(text) - _LETTERS)))
  part = text[start : start + _LETTERS]
  if start:
    _, _, part = part.partition(' ')
  if start + _LETTERS < len(text):
    part, _, _ = part.rpartition(' ')
  return part


def _write(path: pathlib.Path, content: Any) -> None:
  if path.suffix == '.wav':
    with wave.open(str(path), 'wb') as file:
      file.setparams((1, 2, _SAMPLE_RATE, 0, 'NONE', ''))
      file.writeframes(encode_int16(content).tobytes())
  elif path.suffix == '.csv':
    _write_numbers(path, [','.join(_CHANNELS)], content, ',')
  elif path.suffix == '.xyz':
    _write_numbers(path, [], content, ' ')


def _write_numbers(
  path: pathlib.Path, head: list[str], numbers: np.ndarray, between: str
) -> None:
  lines = [between.join(f'{x:.3f}' for x in row) for row in numbers.tolist()]
  path.write_text('\n'.join([*head, *lines, '']), encoding='utf-8')


def _new_rows(table: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
  """Returns some test rows, of which most lack most."""
  full = [row for row in table if row['split'] == 'test' and all(row.values())]
  kept = (
    INPUTS,
    ('sound', 'motion'),
    ('sound', 'furniture', 'note'),
    ('note', 'area'),
    ('building', 'visited'),
  )
  return [
    {name: row[name] if name in names else '' for name in INPUTS}
    for row, names in zip(full, kept, strict=False)
  ]
