"""A server in a thread of its own, on a free port of this machine."""

import contextlib
import threading
import time
from collections.abc import Iterator

import jax
import numpy as np
import uvicorn

from experiments.configs import digits
from experiments.host.configuration import fill_defaults
from experiments.runs.trained import TrainedRun
from experiments.serve import listen
from experiments.serving.app import make_app
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
  run: TrainedRun, *, most_bytes: int = 1_000_000, most_waiting: int = 20
) -> Iterator[str]:
  """Yields the address of a server that is there until the end."""
  app = make_app(run, most_bytes=most_bytes, most_waiting=most_waiting)
  with listen('127.0.0.1', 0) as listening:
    config = uvicorn.Config(app, log_config=None, log_level='error', ws='none')
    server = uvicorn.Server(config)
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
