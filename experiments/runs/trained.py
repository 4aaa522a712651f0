"""A trained run, to be called on arrays or on files.

run = load_run('runs/digits')
print(run.predict('seven.png').top(3))
logits = run({'image': images})  # [B, 10]
"""

import itertools
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import haiku as hk
import jax
import ml_collections
import numpy as np

from experiments.data.dataset import Example, blank_batch
from experiments.host import addresses
from experiments.host.configuration import read_config
from experiments.runs.experiment import (
  bind,
  compared_parameters,
  restore_run,
  settled,
)
from experiments.stepping.train_state import TrainState, state_shapes
from experiments.tasks.task import Task

# Examples at a time; fewer are filled up to a power of two, so that few shapes
# are compiled.
MOST_AT_ONCE = 16


class TrainedRun:
  """A model with its parameters.

  Attributes:
    config: of the run.
    workdir: of the run.
    step: of the checkpoint.
    task: model, loss and data; the data need not be there.
    params: Haiku parameters.
    state: Haiku state.
  """

  def __init__(
    self,
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    step: int,
    task: Task,
    params: hk.Params,
    state: hk.State,
  ):
    self.config, self.workdir, self.step = config, workdir, step
    self.task, self.params, self.state = task, params, state
    self._apply = jax.jit(self._predictions)

  def __call__(self, batch: Example) -> Any:
    """Returns the model's predictions; compiled once for each shape.

    Args:
      batch: the arrays `[B, ...]` that the model takes, see
        `task.data.example`.
    """
    return self._apply(self.params, self.state, dict(batch))

  def predict(self, *paths: str | pathlib.Path) -> Any:
    """Returns what the model says of a file, or of files that are one input.

    It is a value of the kind `task.answer`, such as `Classes`.

    Raises:
      ValueError: a file is of another kind, or cannot be read.
      OSError: there is no such file.
    """
    return self.answer(self.read(*paths))

  def predict_text(self, text: str) -> Any:
    """Returns what the model says of a text.

    Raises:
      ValueError: the model takes no text.
    """
    files = self.task.data.files
    if files is None or files.from_text is None:
      raise ValueError(
        f'This run takes no text: its inputs are {self._kinds()}.'
      )
    return self.answer(files.from_text(text.encode()))

  def read(self, *paths: str | pathlib.Path) -> list[Example]:
    """Returns the examples, without labels, that files come to.

    They are several where a recording is longer than an input of the model.

    Raises:
      ValueError: a file is of another kind, or cannot be read.
      OSError: there is no such file.
    """
    files = self.task.data.files
    places = [
      addresses.local(path, 'The file', 'decoders read from disks')
      for path in paths
    ]
    if files is None:
      raise ValueError(
        f'Files cannot be read for the data {self.config.data.name!r}.'
      )
    if len(places) != files.count:
      raise ValueError(
        f'One input of this run is {files.count} file(s) of {self._kinds()}, '
        f'got {len(places)}: {[str(place) for place in places]}.'
      )
    for place in places:
      if place.suffix.lower() not in files.extensions:
        raise ValueError(f'{place}: this run reads {self._kinds()}.')
      if not place.is_file():
        raise FileNotFoundError(f'{place}: there is no such file.')
    return list(files.read(*places))

  def predict_many(
    self, inputs: Iterable[Sequence[str | pathlib.Path]]
  ) -> Iterator[Any | ValueError | OSError]:
    """Yields what the model says of each input, or why it cannot be read.

    Inputs go through the model together, a few at a time.

    Args:
      inputs: the files of each.
    """
    held: list[list[Example] | ValueError | OSError] = []
    for paths in inputs:
      held.append(self._try_read(paths))
      if sum(len(x) for x in held if isinstance(x, list)) >= MOST_AT_ONCE:
        yield from self._answers(held)
        held = []
    yield from self._answers(held)

  def answer(self, examples: Sequence[Example]) -> Any:
    """Returns what the model says of the examples of one input."""
    return self.task.tell(self.apply_all(examples), examples)

  def apply_all(self, examples: Sequence[Example]) -> list[Any]:
    """Returns the predictions of each example, on the host.

    Those of one shape go through the model together, a few at a time.
    """
    predictions = []
    for _, alike in itertools.groupby(examples, key=_shapes):
      for some in _in_groups(alike):
        made = jax.tree.map(np.asarray, self(_filled_batch(some)))
        predictions += [
          jax.tree.map(lambda x, i=i: x[i], made) for i in range(len(some))
        ]
    return predictions

  def _answers(
    self, readings: Sequence[list[Example] | ValueError | OSError]
  ) -> Iterator[Any | ValueError | OSError]:
    examples = [x for each in readings if isinstance(each, list) for x in each]
    predictions = iter(self.apply_all(examples))
    for reading in readings:
      if isinstance(reading, list):
        made = list(itertools.islice(predictions, len(reading)))
        yield self.task.tell(made, reading)
      else:
        yield reading

  def _try_read(
    self, paths: Sequence[str | pathlib.Path]
  ) -> list[Example] | ValueError | OSError:
    try:
      return self.read(*paths)
    except (ValueError, OSError) as error:
      return error

  def _predictions(
    self, params: hk.Params, state: hk.State, batch: Example
  ) -> Any:
    return self.task.model.apply(params, state, None, batch, is_training=False)[
      0
    ]

  def _kinds(self) -> str:
    files = self.task.data.files
    return 'arrays' if files is None else ', '.join(files.extensions)


def _in_groups(items: Iterable[Any]) -> Iterator[list[Any]]:
  iterator = iter(items)
  while some := list(itertools.islice(iterator, MOST_AT_ONCE)):
    yield some


def _shapes(example: Example) -> str:
  return str(jax.tree.map(np.shape, dict(example)))


def _filled_batch(examples: Sequence[Example]) -> Example:
  """Stacks examples, filled up with copies to a power of two."""
  size = 1 << (len(examples) - 1).bit_length()
  filled = [*examples, *[examples[-1]] * (size - len(examples))]
  return jax.tree.map(lambda *xs: np.stack(xs), *map(dict, filled))


def load_run(
  workdir: str | pathlib.Path,
  *,
  config: ml_collections.ConfigDict | None = None,
  checkpoint: str = 'best',
  data_dir: str | None = None,
) -> TrainedRun:
  """Loads a run; its data need not be there.

  The parameters are the average of them where that is what the best checkpoint
  was chosen by (`checkpoints.best_metric` is `eval_ema/...`).

  Args:
    workdir: of the run.
    config: of the run; default that which is kept in the workdir.
    checkpoint: 'best', 'latest' or a step.
    data_dir: where TFDS keeps prepared data; None for its own default.

  Raises:
    ValueError: there is no run, or no such checkpoint.
    OSError: it cannot be read.
  """
  workdir = addresses.place(workdir, 'workdir')
  config, _ = settled(
    read_config(workdir) if config is None else config, data_dir
  )
  task, _, optimizer = bind(config, data_dir)
  template = state_shapes(
    task.model,
    optimizer,
    blank_batch(task.data.example),
    has_ema=config.ema_decay > 0.0,
  )
  step, train_state = restore_run(config, workdir, template, checkpoint)
  return run_of(config, workdir, step, task, train_state)


def run_of(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  step: int,
  task: Task,
  train_state: TrainState,
) -> TrainedRun:
  """Returns a run of a state that was restored already, see `load_run`."""
  averaged = compared_parameters(config) == 'eval_ema'
  params = train_state.ema if averaged else train_state.params
  params, state = jax.device_put((params, train_state.state))
  return TrainedRun(config, workdir, step, task, params, state)
