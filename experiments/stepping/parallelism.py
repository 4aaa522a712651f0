"""How steps run on many devices: `pmap` over replicas, or sharded arrays.

Nothing else in the project knows that there is more than one device. A state
has no device axis; every process hands in its own part of a global batch,
`[B / processes, ...]`, and gets back what is the same on all devices. Both ways
run the same update, see `steps.py`, in which shapes are those of one device.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import numpy as np

from experiments.stepping.replicated import Replicated
from experiments.stepping.sharded import Sharded
from experiments.stepping.steps import Collectives

# One device on its own, and a program that is written as if for one.
ALONE = Collectives(
  sum=lambda tree: tree,
  mean=lambda tree: tree,
  own_key=lambda key: key,
  gradients=lambda function: function,
)


def configure_backend() -> None:
  """To be called before jax computes anything.

  On the CPU backend with several simulated devices on few cores, steps queued
  behind each other can deadlock in their collectives: run them one by one.
  """
  jax.config.update('jax_cpu_enable_async_dispatch', False)


class Parallelism(Protocol):
  """A way to run steps on all devices of all processes.

  Attributes:
    collectives: for functions that `update` and `evaluation` compile.
  """

  collectives: Collectives

  def template(self, shapes: Any) -> Any:
    """Returns a train state's shapes and dtypes as they are to be restored."""

  def initialize(self, function: Callable, *arguments: Any) -> Any:
    """Returns the train state that a function computes, on the devices."""

  def place_state(self, state: Any) -> Any:
    """Puts a train state on the devices; every process has the same."""

  def snapshot(self, state: Any) -> Any:
    """Returns a copy to be written while the state itself is donated."""

  def update(self, function: Callable) -> Callable:
    """Compiles `(state, batch) -> (state, report)`, donating the state."""

  def evaluation(self, function: Callable) -> Callable:
    """Compiles `(params, state, batch) -> (metrics, arrays of examples)`."""

  def place_batch(self, batch: Any) -> Any:
    """Puts this process's part of a batch on its devices."""

  def batch_template(self, shapes: Any) -> Any:
    """Returns shapes and dtypes of a placed batch from those of `[B, ...]`."""

  def gather_examples(self, arrays: Any) -> Any:
    """Brings arrays of the examples of all processes to each, `[B, ...]`."""

  def fetch_batch(self, batch: Any) -> Any:
    """Brings this process's part of a placed batch back, `[b, ...]`."""

  def fetch_state(self, state: Any) -> Any:
    """Brings a train state to every process, as numpy arrays."""


PARALLELISMS: Mapping[str, Callable[..., Parallelism]] = {
  'pmap': Replicated,
  'sharded': Sharded,
}


def device_bytes(template: Any) -> int:
  """Returns the bytes of a train state on each device.

  Args:
    template: of the state, see `Parallelism.template`.
  """

  def size(leaf: jax.ShapeDtypeStruct) -> int:
    sharding = leaf.sharding
    shape = leaf.shape if sharding is None else sharding.shard_shape(leaf.shape)
    return int(np.prod(shape)) * leaf.dtype.itemsize

  return sum(size(leaf) for leaf in jax.tree.leaves(template))


def check_batch_size(
  batch_size: int, microbatches: int, devices: int | None = None
) -> None:
  """Raises a ValueError unless all devices get equal microbatches.

  Args:
    batch_size: global.
    microbatches: parts of a device's batch.
    devices: their number; None for those here.
  """
  devices = devices or jax.device_count()
  parts = devices * microbatches
  if batch_size < 1 or batch_size % parts:
    below = batch_size // parts * parts
    options = [size for size in (below, below + parts) if size > 0]
    times = f' times {microbatches} microbatches' if microbatches > 1 else ''
    raise ValueError(
      f'batch_size = {batch_size} cannot be divided among {devices} devices'
      f'{times}. Use a multiple of {parts}, such as '
      f'--config.batch_size={options[-1]}.'
    )
