"""A server on a free port of this machine, in a thread or a process of its own.

  python -m tests.served --port=0

is `experiments.serve`, of a small model of digits that was not trained.
"""

import contextlib
import os
import pathlib
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from experiments import serve
from experiments.configs import digits
from experiments.host import command_line
from experiments.host.configuration import fill_defaults
from experiments.runs.trained import MOST_AT_ONCE, TrainedRun
from experiments.serve import listen
from experiments.serving.app import make_app
from experiments.serving.connections import server_of
from tests.small_runs import random_run


def small_digits() -> TrainedRun:
  """Returns a run of a small model of digits."""
  config = fill_defaults(digits.get_config())
  config.inputs.image.positions.num_bands = 2
  config.encoder.num_latents = 4
  config.encoder.latent_channels = 8
  config.encoder.cross_attends = (1,)
  config.encoder.self_attends_per_block = 1
  return random_run(config)


class NothingComputed(TrainedRun):
  """A run whose predictions are all zero; nothing is compiled."""

  def __call__(self, batch):
    """See `TrainedRun`."""
    shapes = jax.eval_shape(
      self._predictions, self.params, self.state, dict(batch)
    )
    return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)


def nothing_computed(run: TrainedRun) -> TrainedRun:
  """Returns a run as it is, but that its predictions are zero."""
  return NothingComputed(
    run.config, run.workdir, run.step, run.task, run.params, run.state
  )


@contextlib.contextmanager
def served(
  run: TrainedRun,
  *,
  most_bytes: int = 1_000_000,
  most_waiting: int = 20,
  **settings: Any,
) -> Iterator[str]:
  """Yields the address of a server that is there until the end."""
  app = make_app(
    run, most_bytes=most_bytes, most_waiting=most_waiting, **settings
  )
  with listen('127.0.0.1', 0) as listening:
    server = server_of(app)
    thread = threading.Thread(
      target=server.run, kwargs={'sockets': [listening]}
    )
    thread.start()
    try:
      while not server.started:
        time.sleep(0.01)
      yield f'http://127.0.0.1:{listening.getsockname()[1]}'
    finally:
      server.should_exit = True
      thread.join()


@contextlib.contextmanager
def served_apart(*arguments: str) -> Iterator[tuple[str, subprocess.Popen]]:
  """Yields the address and the process of a server of small digits.

  Args:
    *arguments: flags of `experiments.serve`.
  """
  root = pathlib.Path(__file__).parents[1]
  with subprocess.Popen(
    [sys.executable, '-m', 'tests.served', '--port=0', *arguments],
    cwd=root,
    env={**os.environ, 'PYTHONPATH': str(root), 'JAX_PLATFORMS': 'cpu'},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  ) as process:
    try:
      yield re.search(r'http://[^ /]+', process.stdout.readline())[0], process
    finally:
      process.kill()


def _compiled() -> TrainedRun:
  """Returns a run whose programs are compiled for all sizes of batches."""
  run = small_digits()
  example = {'image': np.zeros((28, 28, 1), np.float32)}
  size = 1
  while size <= MOST_AT_ONCE:
    run.apply_all([example] * size)
    size *= 2
  return run


if __name__ == '__main__':
  serve.chosen_run.load = _compiled
  command_line.run(serve.main)
