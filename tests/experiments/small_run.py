"""A run that writes all that a run writes, and computes nothing.

  python -m tests.experiments.small_run LIBRARY FOLDER ERROR [CALL ...]

Started with LIBRARY, `failing_disk.c`, preloaded. The disk fails at each CALL
of those that write, counted from 1, each time in a process and a workdir of its
own; then the same is run again on a disk that works. A line of JSON tells of
each. Without CALL they are counted.
"""

import contextlib
import ctypes
import json
import os
import pathlib
import shutil
import sys
import traceback
from typing import Any

import jax
import numpy as np

from experiments.checkpointing.checkpoints import Checkpoints
from experiments.configs import digits
from experiments.host import command_line
from experiments.host.configuration import (
  fill_defaults,
  read_config,
  write_config,
)
from experiments.host.run_lock import owned
from experiments.reporting.run_page import read_run
from experiments.reporting.writing import write_report
from experiments.runs.summary import describe_config_changes
from experiments.stepping.train_state import TrainState
from experiments.watching import starts
from experiments.watching.writers import MetricsWriter

STEPS = 2
# A commit is asked for by other processes, which write nothing.
starts._commit = lambda: None


def state(step: int) -> TrainState:
  """Returns a train state that tells its step."""
  w = np.random.default_rng(step).normal(size=(30, 40)).astype(np.float32)
  return TrainState(np.int32(step), {'layer': {'w': w}}, {}, (np.int32(step),))


def run(workdir: pathlib.Path) -> int:
  """Begins or goes on, in the order of `train`; returns from which step."""
  config = fill_defaults(digits.get_config())
  template = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype), state(0)
  )
  with contextlib.ExitStack() as stack:
    stack.enter_context(owned(workdir))
    for change in describe_config_changes(config, workdir):
      print(change)
    checkpoints = Checkpoints(
      workdir, print, keep_last=1, best_metric='eval/score', best_mode='max'
    )
    with contextlib.closing(checkpoints):
      restored = checkpoints.restore_newest(template)
      first = 0 if restored is None else int(restored.train_state.step)
      assert restored is None or restored.position == 32 * first
      write_config(config, workdir)
      starts.record_start(workdir, first, parameters=1200)
      with contextlib.closing(
        MetricsWriter(workdir, first, active=True)
      ) as writer:
        for step in range(first + 1, STEPS + 1):
          writer.write(step, {'train/loss': 1.0 / step})
          writer.flush()
          metrics = {'eval/score': float(step)}
          checkpoints.save(state(step), 32 * step, metrics)
      checkpoints.finish()
  print('In the workdir: all of it.')
  write_report(read_run(workdir), workdir / 'report.html', None, most=0)
  return first


def what_is_there(workdir: pathlib.Path) -> dict[str, Any]:
  """Returns what a run left: the same, however often it was begun anew."""
  checkpoint = workdir / 'checkpoints' / str(STEPS)
  template = jax.tree.map(np.zeros_like, state(0))
  with contextlib.closing(
    Checkpoints(workdir, print, keep_last=1, best_metric='a', best_mode='max')
  ) as checkpoints:
    restored = checkpoints.restore(
      STEPS,
      jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), template),
    )
  same = jax.tree.map(np.array_equal, restored.train_state, state(STEPS))
  lines = (workdir / 'metrics.jsonl').read_text(encoding='utf-8')
  return {
    'names': sorted(path.name for path in workdir.iterdir()),
    'is_same': all(jax.tree.leaves(same)) and restored.position == 32 * STEPS,
    'has_sums': (checkpoint / 'whole' / 'checksums.json').is_file(),
    'metrics': [json.loads(line) for line in lines.splitlines()],
    'config': read_config(workdir).to_dict() == _plain_config(),
    'starts': len(starts.read_starts(workdir)) > 0,
    'report': (workdir / 'report.html').read_text(encoding='utf-8')[-8:],
  }


def _plain_config() -> dict[str, Any]:
  return json.loads(fill_defaults(digits.get_config()).to_json())


def in_child(output: pathlib.Path, act) -> tuple[int, str]:
  """Runs a function in a process of its own; its exit code and output."""
  pid = os.fork()
  if not pid:
    code = 1
    try:
      number = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
      os.dup2(number, 1)
      os.dup2(number, 2)
      act()
      code = 0
    except (ValueError, OSError) as error:  # As `command_line.run` has it.
      code = command_line._MISTAKE_CODE
      print(f'Error: {error}')
    except BaseException:
      traceback.print_exc()
    finally:
      sys.stdout.flush()
      os._exit(code)
  code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
  return code, output.read_text(encoding='utf-8')


def main() -> None:
  """Tells what becomes of a run whose disk fails at each of its calls."""
  disk = ctypes.CDLL(sys.argv[1])
  folder = pathlib.Path(sys.argv[2])
  error, *calls = map(int, sys.argv[3:])
  if not calls:

    def count():
      disk.disk_arm(str(folder / 'run').encode(), 0, 0)
      run(folder / 'run')
      print(f'\n{disk.disk_calls()}')

    code, output = in_child(folder / 'output', count)
    print(json.dumps([code, output]), flush=True)
    return
  for call in calls:
    workdir = folder / f'run{call}'

    def fail(workdir=workdir, call=call):
      disk.disk_arm(str(workdir).encode(), call, error)
      run(workdir)

    def go_on(workdir=workdir):
      print(json.dumps({'from': run(workdir)}))
      print(json.dumps(what_is_there(workdir)))

    code, output = in_child(folder / 'output', fail)
    checkpoints = workdir / 'checkpoints'
    whole = [
      int(path.name)
      for path in (checkpoints.iterdir() if checkpoints.is_dir() else ())
      if path.name.isdigit()
    ]
    told = {'call': call, 'code': code, 'output': output, 'whole': whole}
    told['again'], told['output_again'] = in_child(folder / 'output', go_on)
    print(json.dumps(told), flush=True)
    shutil.rmtree(workdir)


if __name__ == '__main__':
  main()
