"""What a data set is: raw examples, how they are prepared, what they look like.

A data set is described before anything of it is read; `DataSpec.load` opens it.
"""

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from experiments.data.modality import View
from experiments.data.readings import Example
from experiments.host.error_text import one_line


class Source(Protocol):
  """Random access to the raw examples of a split."""

  def __len__(self) -> int: ...

  def __getitem__(self, index: int) -> Example: ...


class Dataset(NamedTuple):
  """What a task trains and evaluates on.

  Attributes:
    train: raw training examples.
    augment: raw example and random generator to a training example.
    evaluation: raw held-out examples.
    prepare: raw example to an evaluation example.
    mix: number of a pair in the stream, its two training examples, stacked,
      and random generator to one example; None leaves them as they are.
    validation: raw held-out examples that the checkpoint is chosen by; those of
      `evaluation` are then seen once, at the end. None where there are none,
      and `evaluation` does it.
  """

  train: Source
  augment: Callable[[Example, np.random.Generator], Example]
  evaluation: Source
  prepare: Callable[[Example], Example]
  mix: Callable[[int, Example, np.random.Generator], Example] | None = None
  validation: Source | None = None


class FormCell(NamedTuple):
  """A part of an input that a person fills in.

  Attributes:
    name: of it.
    extensions: of a file, in lower case; () of what is typed.
    choices: what it is one of, as far as that is known.
    is_long: whether it is a text of several lines.
  """

  name: str
  extensions: Sequence[str] = ()
  choices: Sequence[str] = ()
  is_long: bool = False


class Form(NamedTuple):
  """An input of several parts, any of which may be left out.

  Attributes:
    cells: the parts.
    read: texts, numbers, lists or, of files, paths, by the names of their
      cells, to examples. Raises a ValueError or an OSError that says which
      cannot be read.
  """

  cells: Sequence[FormCell]
  read: Callable[[Mapping[str, Any]], Sequence[Example]]


class Files(NamedTuple):
  """How a person's files become examples as held-out ones are, without labels.

  Attributes:
    extensions: of the files, in lower case, such as '.png'.
    read: `count` paths to one example or, of a recording that is longer than
      one, to several, in order. Raises a ValueError or an OSError that names
      the file.
    count: files that make up one input.
    from_text: UTF-8 to examples; None where the model takes no text.
    form: how a person fills in an input; the files are tables of such inputs
      then, and may name others. None where inputs are files.
  """

  extensions: Sequence[str]
  read: Callable[..., Sequence[Example]]
  count: int = 1
  from_text: Callable[[bytes], Sequence[Example]] | None = None
  form: Form | None = None


class DataSpec(NamedTuple):
  """What a data set looks like, before anything is read.

  Attributes:
    example: shape and dtype of each array of a training example. Where it has
      `output_points`, they number the outputs wanted of it; in evaluation all
      are.
    num_classes: number of classes, where there are any.
    load: opens the data set; raises an error when it is not there.
    chosen: values that suit the data, by their path in a config, such as
      'data.image_size'; for what a config leaves open.
    note: says in words what was chosen.
    class_names: of the classes, in order of their numbers; () where there are
      none.
    files: how a person's files become examples.
    view: what a person sees or hears of an example, by modality.
    part: example and name of a modality to the arrays of that alone; None where
      modalities have no arrays of one name.
    has_recordings: whether held-out examples are clips of recordings: each has
      `recording`, the number of its own, and predictions of a recording's clips
      are averaged.
    besides: makes examples of the shapes of held-out ones that are none, by
      name; a report shows them too.
    maker: function whose docstring says what examples are, in a module that
      says what the data are; None for the one that `load` is defined in.
    num_train: training examples, where they are counted before they are read.
  """

  example: Mapping[str, Any]
  num_classes: int | None
  load: Callable[[], Dataset]
  chosen: Mapping[str, Any] = types.MappingProxyType({})
  note: str = ''
  class_names: Sequence[str] = ()
  files: Files | None = None
  view: Callable[[Example], Mapping[str, View]] | None = None
  part: Callable[[Example, str], Example] | None = None
  has_recordings: bool = False
  besides: Callable[[], Mapping[str, Example]] = dict
  maker: Callable[..., Any] | None = None
  num_train: int | None = None


def batch_spec(example: Mapping[str, Any], batch_size: int) -> Example:
  """Returns shapes and dtypes of a batch, from those of an example."""
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct((batch_size, *x.shape), x.dtype), example
  )


def evaluation_example(data: DataSpec) -> dict[str, Any]:
  """Returns shape and dtype of each array of a held-out example."""
  example = all_outputs(data.example)
  if data.has_recordings:
    example['recording'] = array_spec(dtype=np.int32)
  return example


def all_outputs(example: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a training example or batch as evaluations have it."""
  return {name: x for name, x in example.items() if name != 'output_points'}


def array_spec(*shape: int, dtype: Any = np.float32) -> jax.ShapeDtypeStruct:
  """Returns the shape and dtype of an array of an example."""
  return jax.ShapeDtypeStruct(shape, dtype)


class InMemory:
  """A small source read once, then kept in memory.

  What cannot be read is an error when it is asked for.

  Attributes:
    unreadable: errors, by the numbers of the examples.
  """

  def __init__(self, source: Source):
    """Reads all of the source."""
    self.unreadable: dict[int, str] = {}
    self._examples = [self._read(source, i) for i in range(len(source))]

  def __len__(self) -> int:
    return len(self._examples)

  def __getitem__(self, index: int) -> Example:
    example = self._examples[index]
    if example is None:
      raise ValueError(self.unreadable[index % len(self)])
    return example

  def _read(self, source: Source, index: int) -> Example | None:
    try:
      return source[index]
    except MemoryError:
      raise
    except Exception as error:  # pylint: disable=broad-exception-caught
      self.unreadable[index] = one_line(error)
      return None


class Chosen:
  """Some examples of a source.

  Args:
    source: of them and others.
    numbers: int `[n]`, of the examples in the source.
  """

  def __init__(self, source: Source, numbers: np.ndarray):
    self._source, self._numbers = source, numbers

  def __len__(self) -> int:
    return len(self._numbers)

  def __getitem__(self, index: int) -> Example:
    return self._source[int(self._numbers[index])]


class Joined:
  """Several sources, one after the other.

  Args:
    sources: at least one.
  """

  def __init__(self, sources: Sequence[Source]):
    self._sources = sources
    self._ends = np.cumsum([len(source) for source in sources])

  def __len__(self) -> int:
    return int(self._ends[-1])

  def __getitem__(self, index: int) -> Example:
    which = int(np.searchsorted(self._ends, index, side='right'))
    source = self._sources[which]
    return source[int(index - self._ends[which]) + len(source)]


class Windows:
  """Windows of recordings: each example is a recording and a `start`.

  Args:
    recordings: examples with an array `[T, ...]`.
    array: its name.
    length: of a window.
    hop: from one start to the next.
  """

  def __init__(self, recordings: Source, array: str, *, length: int, hop: int):
    self._recordings = recordings
    self._windows = [
      (i, start)
      for i in range(len(recordings))
      for start in range(0, len(recordings[i][array]) - length + 1, hop)
    ]

  def __len__(self) -> int:
    return len(self._windows)

  def __getitem__(self, index: int) -> Example:
    recording, start = self._windows[index]
    return {**self._recordings[recording], 'start': start}


def check_limits(limits: Mapping[str, float]) -> None:
  """Raises a ValueError where a limit of random changes is negative.

  Args:
    limits: arguments of a data set, by their names.
  """
  for name, limit in limits.items():
    if limit < 0.0:
      raise ValueError(
        f'data.{name} must not be negative, got {limit}. 0 leaves it out.'
      )


def check_not_empty(dataset: Dataset) -> None:
  """Raises a ValueError when a split has no examples."""
  for split, source in (
    ('training', dataset.train),
    ('evaluation', dataset.evaluation),
    ('validation', dataset.validation),
  ):
    if source is not None and not len(source):
      raise ValueError(
        f'The {split} split has no examples. Delete its folder under '
        '--data_dir to have it prepared again.'
      )


def blank_batch(example: Mapping[str, Any]) -> Example:
  """Returns a batch of one training example, all zeros, as batches are.

  Args:
    example: shapes and dtypes, see `DataSpec`.
  """
  spec = {**example, 'weight': array_spec()}
  return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), batch_spec(spec, 1))
