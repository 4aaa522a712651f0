"""Where a run's numbers go: metrics.jsonl, TensorBoard, the terminal."""

import contextlib
import json
import math
import pathlib
import sys
import time
from collections.abc import Iterator, Mapping

import jax
import tqdm
from tensorboardX import SummaryWriter

from perceiver_jax.metrics import Mean, compute


class MetricsWriter:
  """Writes metrics to `<workdir>/metrics.jsonl` and TensorBoard events.

  A line of metrics.jsonl is one JSON object: `step`, then flat names such as
  `train/loss` with floats, null where they are not finite.
  """

  def __init__(self, workdir: pathlib.Path, step: int):
    """Opens the files to go on after a step.

    Args:
      workdir: of the run.
      step: what was written for later steps, by a run that was interrupted
        after its last checkpoint, is dropped.
    """
    path = workdir / 'metrics.jsonl'
    kept = [line for line in _lines(path) if _step_of(line, path) <= step]
    temporary = path.with_suffix('.tmp')
    temporary.write_text(''.join(kept))
    temporary.replace(path)
    self._file = path.open('a')
    self._events = SummaryWriter(
      str(workdir / 'tensorboard'), purge_step=step + 1
    )

  def write(self, step: int, metrics: Mapping[str, float]) -> None:
    """Writes the metrics of a step."""
    row = {  # JSON has no NaN and no infinity.
      name: value if math.isfinite(value) else None
      for name, value in metrics.items()
    }
    self._file.write(json.dumps({'step': step, **row}) + '\n')
    self._file.flush()
    for name, value in metrics.items():
      self._events.add_scalar(name, value, step)

  def close(self) -> None:
    """Flushes and closes the files."""
    self._file.close()
    self._events.close()


class Meter:
  """Adds up metrics of steps and measures throughput between readings."""

  def __init__(self, batch_size: int):
    """Starts the clock; `batch_size` is global."""
    self._batch_size = batch_size
    self._restart()

  def add(self, step_metrics: Mapping[str, Mean]) -> None:
    """Keeps the metrics of a step on the device, without waiting for them."""
    self._batches.append(step_metrics)

  @contextlib.contextmanager
  def paused(self) -> Iterator[None]:
    """Does not count the time spent in the block."""
    jax.block_until_ready(self._batches)  # Queued steps are not the block's.
    start = time.perf_counter()
    try:
      yield
    finally:
      self._seconds_paused += time.perf_counter() - start

  @contextlib.contextmanager
  def waiting_for_data(self) -> Iterator[None]:
    """Counts the time spent in the block as waiting for the next batch."""
    start = time.perf_counter()
    yield
    self._seconds_waiting += time.perf_counter() - start

  def read(self) -> dict[str, float]:
    """Returns the means since the last reading as `train/...`; starts anew.

    `train/data_wait` is the share of the time that was spent waiting for data:
    on accelerators, where steps are queued, the device may be busy meanwhile.
    """
    row = {
      f'train/{name}': value for name, value in compute(self._batches).items()
    }
    seconds = time.perf_counter() - self._start - self._seconds_paused
    examples = len(self._batches) * self._batch_size
    row['train/examples_per_second'] = examples / seconds
    row['train/seconds_per_step'] = seconds / len(self._batches)
    row['train/data_wait'] = self._seconds_waiting / seconds
    self._restart()
    return row

  def _restart(self) -> None:
    self._batches = []
    self._seconds_paused = 0.0
    self._seconds_waiting = 0.0
    self._start = time.perf_counter()


class Progress:
  """A progress bar on a terminal, plain lines elsewhere."""

  def __init__(self, step: int, train_steps: int):
    """Starts at `step` of `train_steps`."""
    self._interactive = sys.stdout.isatty()
    self._train_steps = train_steps
    self._bar = tqdm.tqdm(
      initial=step,
      total=train_steps,
      unit='step',
      dynamic_ncols=True,
      file=sys.stdout,
      disable=not self._interactive,
    )

  def advance(self) -> None:
    """Counts one step."""
    self._bar.update()

  def report(self, step: int, metrics: Mapping[str, float]) -> None:
    """Shows the latest training metrics."""
    shown = (
      f'loss {metrics["train/loss"]:.4f}, '
      f'{metrics["train/examples_per_second"]:.0f} examples/s'
    )
    if self._interactive:
      self._bar.set_postfix_str(shown)
      return
    seconds_left = (self._train_steps - step) * metrics[
      'train/seconds_per_step'
    ]
    left = tqdm.tqdm.format_interval(seconds_left)
    print(f'step {step}/{self._train_steps}: {shown}, {left} left', flush=True)

  def say(self, text: str) -> None:
    """Prints a line without breaking the bar."""
    self._bar.write(text, file=sys.stdout)
    sys.stdout.flush()

  def close(self) -> None:
    """Leaves the bar as it is."""
    self._bar.close()


def _lines(path: pathlib.Path) -> list[str]:
  """Lines of a file that a run may have been killed while writing."""
  if not path.exists():
    return []
  return [line for line in path.open() if line.endswith('\n')]


def _step_of(line: str, path: pathlib.Path) -> int:
  try:
    return json.loads(line)['step']
  except (json.JSONDecodeError, KeyError, TypeError) as error:
    raise ValueError(
      f'{path} has a line that no run wrote: {line.strip()[:80]!r}. Repair or '
      'remove the file.'
    ) from error
