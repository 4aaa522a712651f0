"""GLUE, eight tasks of understanding English sentences, from TFDS.

Perceiver IO, section 4.1 and appendix F.4; WNLI is left out, as there. The
papers do not say how two sentences become one text: here they stand one after
the other with the token [SEP] between them, and nothing else is added.

Each task is a TFDS data set, prepared elsewhere as array_record. Labels of the
test splits are not public: held out is what GLUE calls validation.
"""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.data.dataset import (
  Dataset,
  DataSpec,
  Example,
  Joined,
  Source,
  array_spec,
)
from experiments.datasets import prepared
from experiments.modalities.text.examples import joined_example
from experiments.modalities.text.typed import joined_files, view_text

# The texts of each task, by the names of TFDS's features.
_TEXTS = {
  'cola': ('sentence',),
  'mnli': ('premise', 'hypothesis'),
  'mrpc': ('sentence1', 'sentence2'),
  'qnli': ('question', 'sentence'),
  'qqp': ('question1', 'question2'),
  'rte': ('sentence1', 'sentence2'),
  'sst2': ('sentence',),
  'stsb': ('sentence1', 'sentence2'),
}
TASKS = tuple(_TEXTS)
# The classes, in order of their numbers; STS-B has none, but a value from 0 to
# 5, how much two sentences mean the same.
CLASS_NAMES = {
  'cola': ('unacceptable', 'acceptable'),
  'mnli': ('entailment', 'neutral', 'contradiction'),
  'mrpc': ('not equivalent', 'equivalent'),
  'qnli': ('entailment', 'not entailment'),
  'qqp': ('not duplicate', 'duplicate'),
  'rte': ('entailment', 'not entailment'),
  'sst2': ('negative', 'positive'),
}
# What is measured apart: the tasks, and MNLI on other kinds of text than it was
# trained on. An example has the number of its part.
PARTS = ('cola', 'mnli', 'mnli_mismatched', *TASKS[2:])
_HELD_OUT_SPLITS = {
  'mnli': 'validation_matched',
  'mnli_mismatched': 'validation_mismatched',
}


class Part(NamedTuple):
  """A source whose examples tell their part.

  Attributes:
    name: of `PARTS`.
    source: of raw examples.
  """

  name: str
  source: Source

  def __len__(self) -> int:
    return len(self.source)

  def __getitem__(self, index: int) -> Example:
    return {**self.source[index], 'part': self.name}


def task_of(part: str) -> str:
  """Returns the task that a part is of."""
  return part.removesuffix('_mismatched')


def tasks_of(num_texts: int, tasks: Sequence[str]) -> list[str]:
  """Returns those of the tasks that are about one text, or about two."""
  return [task for task in tasks if len(_TEXTS[task]) == num_texts]


def glue(
  data_dir: str | None, *, length: int, tasks: Sequence[str]
) -> DataSpec:
  """One task of GLUE, or several in shares of their sizes.

  Args:
    data_dir: the directory that holds `glue/`; None is TFDS's default.
    length: bytes of an example. Longer texts are cut.
    tasks: of `TASKS`.

  Returns:
    Examples with `tokens` int32 `[length]`, `mask` bool `[length]`, False for
    padding, `part` int32, a number of `PARTS`, and `label` float32, a class or
    the value to regress. When it is loaded and something is not prepared, a
    FileNotFoundError says how to.
  """
  if not tasks or len(set(tasks)) < len(tasks) or set(tasks) - set(TASKS):
    raise ValueError(
      f'data.tasks must be one or several of {TASKS}, each once; got '
      f'{tuple(tasks)}.'
    )

  def example_of(example: Example) -> Example:
    texts = [example[name] for name in _TEXTS[task_of(example['part'])]]
    return {
      **joined_example(texts, length),
      'part': np.int32(PARTS.index(example['part'])),
      'label': np.float32(example['label']),
    }

  def load() -> Dataset:
    held_out = [part for part in PARTS if task_of(part) in tasks]
    return Dataset(
      train=_open(dict.fromkeys(sorted(tasks), 'train'), data_dir),
      augment=lambda example, rng: example_of(example),
      evaluation=_open(
        {part: _HELD_OUT_SPLITS.get(part, 'validation') for part in held_out},
        data_dir,
      ),
      prepare=example_of,
    )

  example = {
    'tokens': array_spec(length, dtype=np.int32),
    'mask': array_spec(length, dtype=np.bool_),
    'part': array_spec(dtype=np.int32),
    'label': array_spec(),
  }
  return DataSpec(
    example=example,
    num_classes=None,
    load=load,
    files=joined_files(length, {len(_TEXTS[task]) for task in tasks}),
    view=view_text,
  )


def _open(splits: dict[str, str], data_dir: str | None) -> Joined:
  """Opens a split of each part.

  Version 2 has the questions of QQP as the benchmark has them now.
  """
  return Joined(
    [
      Part(
        part,
        prepared.open_by_name(
          f'glue/{task_of(part)}:2.*.*', split, data_dir, _REMEDY
        ),
      )
      for part, split in splits.items()
    ]
  )


def _how_to_prepare(root: pathlib.Path) -> str:
  return (
    'Prepare the tasks once (minutes; training needs no TensorFlow):\n\n'
    f'{prepared.INSTALL}'
    f'  for task in {" ".join(TASKS)}; do\n'
    f'    tfds build glue/$task --file_format={prepared.FORMAT}'
    f' --data_dir={root}\n'
    '  done'
  )


_REMEDY = prepared.Remedy(_how_to_prepare, 'experiments/configs/declaration.py')
