"""Every device has the whole state, and a part of the batch: `jax.pmap`."""

from collections.abc import Callable, Sequence
from typing import Any

import haiku as hk
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from experiments.stepping.devices import gather, in_turn, tracing_for
from experiments.stepping.steps import Collectives, Gradients

_AXIS = 'devices'


class Replicated:
  """A `Parallelism`: see the head of this file."""

  def __init__(self, devices: Sequence[jax.Device] | None = None):
    """Chooses the devices.

    Args:
      devices: to compile for, which need not be here; None for all that are.
    """
    self._devices = devices

  @property
  def collectives(self) -> Collectives:
    """Sums and means over the devices of a `jax.pmap`."""

    def gradients(function: Gradients) -> Gradients:
      def summed(*arguments: Any) -> tuple[hk.MutableParams, Any]:
        parts, others = function(*arguments)
        return jax.lax.psum(parts, _AXIS), others

      return summed

    return Collectives(
      sum=lambda tree: jax.lax.psum(tree, _AXIS),
      mean=lambda tree: jax.lax.pmean(tree, _AXIS),
      own_key=lambda key: jax.random.fold_in(key, jax.lax.axis_index(_AXIS)),
      gradients=gradients,
    )

  def template(self, shapes: Any) -> Any:
    """Returns the shapes and dtypes: numpy arrays will be restored."""
    return shapes

  def initialize(self, function: Callable, *arguments: Any) -> Any:
    """Returns the train state that a function computes, on all devices."""
    return self.place_state(jax.jit(function)(*arguments))

  def place_state(self, state: Any) -> Any:
    """Puts a train state on all devices of this process."""
    return jax.device_put(state, _local(PartitionSpec()))

  def snapshot(self, state: Any) -> Any:
    """Returns numpy arrays of our own: on the CPU, others share buffers."""
    return jax.tree.map(lambda x: np.array(x, copy=True), state)

  def update(self, function: Callable) -> Callable:
    """Maps `(state, batch) -> (state, report)`; the old state is donated.

    The function ends with equal states on all devices.
    """
    return in_turn(
      jax.pmap(
        tracing_for(self._devices, function),
        axis_name=_AXIS,
        in_axes=(None, 0),
        out_axes=None,
        donate_argnums=(0,),
        devices=self._devices,
      )
    )

  def evaluation(self, function: Callable) -> Callable:
    """Maps `(params, state, batch) -> (metrics, arrays of the examples)`."""
    return in_turn(
      jax.pmap(
        tracing_for(self._devices, function),
        axis_name=_AXIS,
        in_axes=(None, None, 0),
        out_axes=(None, 0),
        devices=self._devices,
      )
    )

  def place_batch(self, batch: Any) -> Any:
    """Puts `[b, ...]` on the devices as `[devices, b / devices, ...]`."""
    devices = jax.local_device_count()
    return jax.device_put(
      jax.tree.map(lambda x: x.reshape(devices, -1, *x.shape[1:]), batch),
      _local(PartitionSpec(_AXIS)),
    )

  def batch_template(self, shapes: Any) -> Any:
    """Returns shapes `[devices, B / devices, ...]`."""
    devices = len(self._devices or jax.devices())
    return jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(
        (devices, x.shape[0] // devices, *x.shape[1:]), x.dtype
      ),
      shapes,
    )

  def gather_examples(self, arrays: Any) -> Any:
    """Brings `[devices, b / devices, ...]` of all processes to each."""
    return gather(self.fetch_batch(arrays))

  def fetch_batch(self, batch: Any) -> Any:
    """Brings `[devices, b / devices, ...]` back as `[b, ...]`."""
    return jax.tree.map(
      lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), batch
    )

  def fetch_state(self, state: Any) -> Any:
    """Brings a train state to this process, as numpy arrays."""
    return jax.tree.map(np.asarray, state)


def _local(spec: PartitionSpec) -> NamedSharding:
  return NamedSharding(Mesh(np.array(jax.local_devices()), (_AXIS,)), spec)
