"""How steps run on many devices: `pmap` over replicas, or sharded arrays.

Nothing else in the project knows that there is more than one device. A state
has no device axis; every process hands in its own part of a global batch,
`[B / processes, ...]`, and gets back what is the same on all devices. Both ways
run the same update, see `steps.py`.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from experiments.steps import Collectives

_AXIS = 'devices'
_REPLICAS, _SHARDS = 'replicas', 'shards'

# One device on its own, and a program that is written as if for one.
ALONE = Collectives(
  sum=lambda tree: tree, mean=lambda tree: tree, own_key=lambda key: key
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

  def gather_examples(self, arrays: Any) -> Any:
    """Brings arrays of the examples of all processes to each, `[B, ...]`."""

  def fetch_batch(self, batch: Any) -> Any:
    """Brings this process's part of a placed batch back, `[b, ...]`."""

  def fetch_state(self, state: Any) -> Any:
    """Brings a train state to every process, as numpy arrays."""


class Replicated:
  """Every device has the whole state, and a part of the batch: `jax.pmap`."""

  collectives = Collectives(
    sum=lambda tree: jax.lax.psum(tree, _AXIS),
    mean=lambda tree: jax.lax.pmean(tree, _AXIS),
    own_key=lambda key: jax.random.fold_in(key, jax.lax.axis_index(_AXIS)),
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
    return _in_turn(
      jax.pmap(
        function,
        axis_name=_AXIS,
        in_axes=(None, 0),
        out_axes=None,
        donate_argnums=(0,),
      )
    )

  def evaluation(self, function: Callable) -> Callable:
    """Maps `(params, state, batch) -> (metrics, arrays of the examples)`."""
    return _in_turn(
      jax.pmap(
        function, axis_name=_AXIS, in_axes=(None, None, 0), out_axes=(None, 0)
      )
    )

  def place_batch(self, batch: Any) -> Any:
    """Puts `[b, ...]` on the devices as `[devices, b / devices, ...]`."""
    devices = jax.local_device_count()
    return jax.device_put(
      jax.tree.map(lambda x: x.reshape(devices, -1, *x.shape[1:]), batch),
      _local(PartitionSpec(_AXIS)),
    )

  def gather_examples(self, arrays: Any) -> Any:
    """Brings `[devices, b / devices, ...]` of all processes to each."""
    return _gather(self.fetch_batch(arrays))

  def fetch_batch(self, batch: Any) -> Any:
    """Brings `[devices, b / devices, ...]` back as `[b, ...]`."""
    return jax.tree.map(
      lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), batch
    )

  def fetch_state(self, state: Any) -> Any:
    """Brings a train state to this process, as numpy arrays."""
    return jax.tree.map(np.asarray, state)


class Sharded:
  """Arrays of the state are divided among devices, for `jax.jit`.

  The devices are `[replicas, shards]`: each replica's devices together hold one
  state, every array cut along its longest axis that can be cut, and all devices
  take a part of the batch. XLA gathers parameters where they are used, and
  leaves of a gradient's sum only the own part on each device.

  The batch is one to the program: batch norm, for example, is over all of it,
  not over each device's part.
  """

  collectives = ALONE

  def __init__(self, *, shards: int | None = None):
    """Lays out the devices.

    Args:
      shards: devices among which a state is divided; None for all.

    Raises:
      ValueError: the devices cannot be divided so.
    """
    devices = jax.device_count()
    shards = devices if shards is None else shards
    if shards < 1 or devices % shards:
      raise ValueError(
        f'parallelism.shards = {shards} does not divide the {devices} devices. '
        'Leave it out to use all of them.'
      )
    self._shards = shards
    self._mesh = jax.make_mesh(
      (devices // shards, shards),
      (_REPLICAS, _SHARDS),
      axis_types=(jax.sharding.AxisType.Auto,) * 2,
    )

  def template(self, shapes: Any) -> Any:
    """Returns the shapes and dtypes with their shardings."""
    return jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(
        x.shape, x.dtype, sharding=self._state_sharding(x)
      ),
      shapes,
    )

  def initialize(self, function: Callable, *arguments: Any) -> Any:
    """Returns the train state that a function computes, never whole."""
    shardings = jax.tree.map(
      self._state_sharding, jax.eval_shape(function, *arguments)
    )
    return jax.jit(function, out_shardings=shardings)(*arguments)

  def place_state(self, state: Any) -> Any:
    """Puts the parts of a train state on the devices."""
    return jax.device_put(state, jax.tree.map(self._state_sharding, state))

  def snapshot(self, state: Any) -> Any:
    """Returns arrays as they are divided, for each process to write its own."""
    if jax.default_backend() != 'cpu':
      return state  # The writer has copied it when it lets the loop go on.
    return jax.tree.map(jnp.copy, state)

  def update(self, function: Callable) -> Callable:
    """Compiles `(state, batch) -> (state, report)`; the state is donated."""

    def constrained(state: Any, batch: Any) -> Any:
      state, report = function(state, batch)
      return (
        jax.lax.with_sharding_constraint(
          state, jax.tree.map(self._state_sharding, state)
        ),
        jax.lax.with_sharding_constraint(
          report, self._sharding(PartitionSpec())
        ),
      )

    return _in_turn(jax.jit(constrained, donate_argnums=(0,)))

  def evaluation(self, function: Callable) -> Callable:
    """Compiles `(params, state, batch) -> (metrics, arrays of examples)`."""
    return _in_turn(
      jax.jit(
        function,
        out_shardings=(self._sharding(PartitionSpec()), self._batch_sharding()),
      )
    )

  def place_batch(self, batch: Any) -> Any:
    """Makes the global batch `[B, ...]` of the processes' `[b, ...]`."""
    sharding = self._batch_sharding()
    return jax.tree.map(
      lambda x: jax.make_array_from_process_local_data(sharding, x), batch
    )

  def gather_examples(self, arrays: Any) -> Any:
    """Brings `[B, ...]` to every process."""
    return _gather(arrays)

  def fetch_batch(self, batch: Any) -> Any:
    """Brings the rows of `[B, ...]` that are here back, `[b, ...]`."""

    def rows(x: jax.Array) -> np.ndarray:
      parts = {  # By their first row; each once.
        shard.index[0].start or 0: shard.data for shard in x.addressable_shards
      }
      return np.concatenate([np.asarray(parts[i]) for i in sorted(parts)])

    return jax.tree.map(rows, batch)

  def fetch_state(self, state: Any) -> Any:
    """Brings a train state to every process, as numpy arrays."""
    return _gather(state)

  def _sharding(self, spec: PartitionSpec) -> NamedSharding:
    return NamedSharding(self._mesh, spec)

  def _batch_sharding(self) -> NamedSharding:
    return self._sharding(PartitionSpec((_REPLICAS, _SHARDS)))

  def _state_sharding(self, array: Any) -> NamedSharding:
    """Cuts the longest axis that the shards divide; the last of equals."""
    options = [
      (size, axis)
      for axis, size in enumerate(array.shape)
      if size % self._shards == 0
    ]
    if not options:
      return self._sharding(PartitionSpec())
    _, axis = max(options)
    return self._sharding(PartitionSpec(*[None] * axis, _SHARDS))


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


def check_batch_size(batch_size: int, microbatches: int) -> None:
  """Raises a ValueError unless all devices get equal microbatches."""
  devices = jax.device_count()
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


def _local(spec: PartitionSpec) -> NamedSharding:
  return NamedSharding(Mesh(np.array(jax.local_devices()), (_AXIS,)), spec)


def _in_turn(function: Callable) -> Callable:
  """On the CPU, waits for each call; elsewhere calls are queued.

  Simulated devices share threads: calls that are queued behind each other can
  wait for each other for ever, and nothing is gained by them.
  """
  if jax.default_backend() != 'cpu':
    return function

  @functools.wraps(function)
  def call(*arguments: Any) -> Any:
    return jax.block_until_ready(function(*arguments))

  call.lower = function.lower
  return call


def _gather(arrays: Any) -> Any:
  if jax.process_count() == 1:
    return jax.tree.map(np.asarray, arrays)
  return multihost_utils.process_allgather(arrays, tiled=True)
