"""How an update runs on many devices: `jax.pmap` over a replicated state.

Nothing else in the project knows that there is more than one device in a
process. The state has no device axis; batches are split on their first axis.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = 'devices'


def configure_backend() -> None:
  """To be called before jax computes anything.

  On the CPU backend with several simulated devices on few cores, steps queued
  behind each other can deadlock in their collectives: run them one by one.
  """
  jax.config.update('jax_cpu_enable_async_dispatch', False)


def pmap_update(update: Callable) -> Callable:
  """Maps `(state, batch) -> (state, metrics)`; the old state is donated.

  The update averages over `AXIS`, so all devices return the same state.
  """
  return jax.pmap(
    update,
    axis_name=AXIS,
    in_axes=(None, 0),
    out_axes=None,
    donate_argnums=(0,),
  )


def pmap_evaluation(evaluation: Callable) -> Callable:
  """Maps `(params, state, batch) -> (metrics, arrays of the examples)`.

  The arrays come back as batches go in, `[devices, B / devices, ...]`.
  """
  return jax.pmap(
    evaluation, axis_name=AXIS, in_axes=(None, None, 0), out_axes=(None, 0)
  )


def place_batch(batch: Any) -> Any:
  """Puts `[B, ...]` on the devices as `[devices, B / devices, ...]`."""
  devices = jax.local_devices()
  sharding = NamedSharding(
    Mesh(np.array(devices), (AXIS,)), PartitionSpec(AXIS)
  )
  return jax.device_put(
    jax.tree.map(lambda x: x.reshape(len(devices), -1, *x.shape[1:]), batch),
    sharding,
  )


def fetch_examples(arrays: Any) -> Any:
  """Brings `[devices, B / devices, ...]` to the host as `[B, ...]`."""
  return jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), arrays)


def check_batch_size(batch_size: int) -> None:
  """Raises a ValueError unless all devices get the same share."""
  devices = jax.device_count()
  if batch_size < 1 or batch_size % devices:
    below = batch_size // devices * devices
    options = [size for size in (below, below + devices) if size > 0]
    raise ValueError(
      f'batch_size = {batch_size} cannot be divided among {devices} devices. '
      f'Use a multiple of {devices}, such as '
      f'--config.batch_size={options[-1]}.'
    )
