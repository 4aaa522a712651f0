"""One row of a sweep: a training process, measured from outside.

In the folder of a row, beside what the run itself leaves there, which tells how
it went: `output.txt`, all that it printed, for people, and `result.json`, a
`Result`.
"""

import datetime
import json
import os
import pathlib
import sys
import time
from typing import Any, NamedTuple

from experiments.host.buckets import write_whole
from experiments.host.configuration import read_config
from experiments.reporting.history import read_history
from experiments.sweeps.tables import Row
from experiments.watching.starts import read_starts

_RESULT = 'result.json'
_OUTPUT = 'output.txt'
_AGAIN = 'Run the same command again to continue.'
_CONFIGS = pathlib.Path(__file__).parents[1] / 'configs'


class Result(NamedTuple):
  """What is known of a row.

  Attributes:
    arguments: of `python -m experiments.train`, without folders.
    error: what the process said last when it failed; None when it did not.
    metrics: of the last step's evaluation, without 'eval/'.
    steps: of training.
    parameters: of the model.
    devices: that it ran on, such as '1 x cpu'.
    seconds: wall time of the whole command.
    cpu_seconds: the same in CPU time of all threads, which other programs on
      the machine change less.
    peak_bytes: most memory on the host at a time.
    resumed: whether an earlier process had done a part of the steps; seconds
      are then those of the rest.
    date: on which it ended, 'YYYY-MM-DD'.
  """

  arguments: list[str]
  error: str | None
  metrics: dict[str, float]
  steps: int
  parameters: int
  devices: str
  seconds: float
  cpu_seconds: float
  peak_bytes: int
  resumed: bool
  date: str


def read_result(folder: pathlib.Path) -> Result | None:
  """Returns what is known of the row in a folder; None if it never ended.

  One that is damaged is made anew: the run in the folder is there.
  """
  try:
    return Result(**json.loads((folder / _RESULT).read_bytes()))
  except (FileNotFoundError, ValueError, TypeError, RecursionError):
    return None


def run_row(
  row: Row, folder: pathlib.Path, data_dir: str | None, overrides: list[str]
) -> Result:
  """Trains a row unless it is finished, and writes its result.

  Args:
    row: of a table.
    folder: of the run.
    data_dir: where TFDS keeps prepared data; None for its own default.
    overrides: 'KEY=VALUE' of the config, after those of the row.

  Raises:
    ValueError: an override is none, or the folder has the result of another
      command.
    InterruptedError: by Ctrl-C, after the process saved what it had.
  """
  arguments = _arguments(row, overrides)
  known = read_result(folder)
  if known is not None and not known.error:
    if known.arguments != arguments:
      raise ValueError(
        f'{folder} has the result of {" ".join(known.arguments)}, not of '
        f'{" ".join(arguments)}. Choose another --workdir.'
      )
    print(f'{row.name}: finished on {known.date}.', flush=True)
    return known
  folder.mkdir(parents=True, exist_ok=True)
  print(f'{row.name}: training in {folder}', flush=True)
  result = _train(arguments, folder, data_dir)
  write_whole(folder / _RESULT, json.dumps(result._asdict(), indent=2) + '\n')
  said = result.error or ', '.join(
    f'{name} {value:.4f}' for name, value in result.metrics.items()
  )
  print(f'{row.name}: {said} ({result.seconds:.0f} s)', flush=True)
  return result


def _arguments(row: Row, overrides: list[str]) -> list[str]:
  name, _, variant = row.config.partition(':')
  config = f'{name}.py:{variant}' if variant else f'{name}.py'
  changes = dict(row.overrides)
  for override in overrides:
    key, mark, value = override.partition('=')
    if not mark:
      raise ValueError(f'--override must be KEY=VALUE, got {override!r}.')
    changes[key] = value
  return [config, *(f'--config.{key}={changes[key]}' for key in changes)]


def _train(
  arguments: list[str], folder: pathlib.Path, data_dir: str | None
) -> Result:
  config, *changes = arguments
  command = [
    *(sys.executable, '-m', 'experiments.train'),
    f'--config={_CONFIGS / config}',
    f'--workdir={folder}',
    *changes,
  ]
  if data_dir is not None:
    command.append(f'--data_dir={data_dir}')
  starts_before = len(read_starts(folder))
  begun = time.perf_counter()
  status, usage = _run(command, folder / _OUTPUT)
  seconds = time.perf_counter() - begun
  error, steps, metrics = None, 0, {}
  if status == 0:
    steps, metrics = _final_metrics(folder)
  else:
    error = _last_line(folder / _OUTPUT) or f'exit code {status}'
  # None where the process failed before.
  start = dict(*read_starts(folder)[starts_before:][-1:])
  return Result(
    arguments=arguments,
    error=error,
    metrics=metrics,
    steps=steps,
    parameters=start.get('parameters', 0),
    devices=start.get('devices', ''),
    seconds=round(seconds, 1),
    cpu_seconds=round(usage.ru_utime + usage.ru_stime, 1),
    peak_bytes=usage.ru_maxrss * (1 if sys.platform == 'darwin' else 1024),
    resumed=start.get('step', 0) > 0,
    date=datetime.date.today().isoformat(),
  )


def _run(command: list[str], output: pathlib.Path) -> tuple[int, Any]:
  """Runs a command to its end.

  Returns:
    Its exit code, and its own use of resources: `resource.getrusage` would mix
    the rows. On Ctrl-C, which it gets too, its end is waited for.
  """
  opened = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
  process = os.posix_spawn(
    command[0],
    command,
    os.environ,
    file_actions=[
      (os.POSIX_SPAWN_OPEN, 1, str(output), opened, 0o644),
      (os.POSIX_SPAWN_DUP2, 1, 2),
    ],
  )
  try:
    _, status, usage = os.wait4(process, 0)
  except KeyboardInterrupt as interrupt:
    os.waitpid(process, 0)
    raise InterruptedError(f'Interrupted. {_AGAIN}') from interrupt
  return os.waitstatus_to_exitcode(status), usage


def _final_metrics(folder: pathlib.Path) -> tuple[int, dict[str, float]]:
  """Returns the last step, and its evaluation."""
  rows = read_history(folder).rows
  row = rows[-1] if rows else {'step': 0}
  steps = read_config(folder).train_steps
  if row['step'] != steps:
    raise InterruptedError(
      f'{folder} stopped before step {steps}, its last. {_AGAIN}'
    )
  evaluation = {
    name.removeprefix('eval/'): value
    for name, value in row.items()
    if name.startswith('eval/')
  }
  return steps, evaluation


def _last_line(output: pathlib.Path) -> str:
  """What the process said last: only people are told why it failed."""
  text = output.read_text(encoding='utf-8')
  lines = [line.strip() for line in text.splitlines() if line.strip()]
  return lines[-1] if lines else ''
