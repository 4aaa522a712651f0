"""A run of two processes on this machine, to see how it ends."""

import contextlib
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time

from tests import simulated_devices

ROOT = pathlib.Path(__file__).parents[2]
DIGITS = f'{ROOT}/experiments/configs/digits.py:transformer'
# A model that compiles and runs fast.
SMALL = (
  '--config.batch_size=16',
  '--config.log_every=1',
  '--config.inputs.image.positions.num_bands=4',
  '--config.baseline.num_channels=16',
  '--config.baseline.num_layers=1',
  '--config.report.seconds=0',
)
SHARDED = '--config.parallelism.name=sharded'
# That a process waits for another one shows after minutes: 100 seconds until
# jax notices a death, 300 at its end.
SOON = 80.0
# Runs share what they compile, but for those that are to be seen compiling.
_CACHE = tempfile.TemporaryDirectory(prefix='compilation')


class RunOfTwo:
  """Both processes, and what they have printed so far."""

  def __init__(self, folder, *arguments, of_one=(), **options):
    """Starts both.

    Args:
      folder: for the workdir and what is printed.
      *arguments: of both.
      of_one: arguments of the second process alone.
      **options: see `_start`.
    """
    with socket.socket() as probe:
      probe.bind(('127.0.0.1', 0))
      port = probe.getsockname()[1]
    self.folder = folder
    arguments = [f'--workdir={folder}/run', *arguments]
    self.processes = [
      _start(
        folder / f'output_{index}',
        [f'--multihost=127.0.0.1:{port},2,{index}', *arguments, *own],
        **options,
      )
      for index, own in enumerate(((), of_one))
    ]

  def output(self, index):
    """What a process has printed, errors included."""
    return (self.folder / f'output_{index}').read_text()

  def wait_for(self, pattern, index=0):
    """Waits until a process has printed something."""
    until = time.monotonic() + 240.0
    while not re.search(pattern, self.output(index)):
      assert self.processes[index].poll() is None, self.output(index)
      assert time.monotonic() < until, self.output(index)
      time.sleep(0.02)

  def kill(self, index):
    """Kills a process, as a machine without memory does."""
    self.processes[index].kill()

  def code(self, index, seconds=SOON):
    """The exit code of a process that ends in time."""
    try:
      return self.processes[index].wait(seconds)
    except subprocess.TimeoutExpired:
      raise AssertionError(self.output(index)) from None

  def errors(self, index):
    """The lines of a process that begin as our errors do."""
    return re.findall(r'^Error: (.*)$', self.output(index), re.MULTILINE)

  def name(self, index):
    """What the others call a process."""
    return (
      f'Process {index} of this run (pid {self.processes[index].pid} on '
      f'{socket.gethostname()})'
    )

  def end(self):
    """Leaves nothing running."""
    for process in self.processes:
      with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
      process.wait()


def _start(path, arguments, config=DIGITS, cached=True, script=None, cwd=None):
  """Starts a process; it leads a group.

  Args:
    path: of the file for what it prints.
    arguments: of the command.
    config: of the run.
    cached: whether it may find what others have compiled.
    script: Python code instead of the command.
    cwd: where it runs.
  """
  environment = simulated_devices.environment(1)
  if cached:
    environment |= simulated_devices.compilation_cache(_CACHE.name)
  program = ['-m', 'experiments.train'] if script is None else ['-c', script]
  with path.open('w') as output:
    return subprocess.Popen(
      [sys.executable, '-u', *program, f'--config={config}', *arguments],
      cwd=cwd or ROOT,
      env=environment | {'PYTHONPATH': str(ROOT)},
      stdin=subprocess.DEVNULL,
      stdout=output,
      stderr=subprocess.STDOUT,
      process_group=0,
    )
