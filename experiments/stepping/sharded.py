"""Arrays of the state are divided among devices, for `jax.jit`.

What is computed where is said here (`jax.shard_map`): each device computes with
whole parameters on its own part of the batch, so that shapes in a model are
those of one device. Left to itself, XLA divides products instead of gathering
parameters, with the whole batch on every device.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from experiments.stepping.devices import gather, in_turn, tracing_for
from experiments.stepping.steps import Collectives, Gradients
from perceiver_jax.portability import traced_for
from perceiver_jax.stacking import is_layer_stack

# A data-centre network joins slices, faster links join the devices of one.
_SLICES, _REPLICAS, _SHARDS = 'slices', 'replicas', 'shards'
_REPEATED = (_SLICES, _REPLICAS)
_ALL = (*_REPEATED, _SHARDS)


class Sharded:
  """A `Parallelism` in which no device holds a whole train state.

  The devices are `[slices, replicas, shards]`: the shards of a replica together
  hold one state, every array cut along its longest axis that can be cut, and
  all devices take a part of the batch. Parameters are gathered before they are
  used; each device keeps its own part of a gradient's sum, and the optimizer
  changes that part alone. Slices, where there are several, are replicas that
  only sums of such parts go between.
  """

  def __init__(
    self,
    devices: Sequence[jax.Device] | None = None,
    *,
    shards: int | None = None,
    layer_by_layer: bool = False,
  ):
    """Lays out the devices.

    Args:
      devices: to compile for, which need not be here; None for all that are.
      shards: devices among which a state is divided; None for all of a slice.
      layer_by_layer: whether parameters are gathered where a layer uses them,
        each time it does, so that they are never whole at once; otherwise once
        a step. It takes less memory and says more to the other devices.

    Raises:
      ValueError: the devices cannot be divided so.
    """
    self._devices = devices
    self._layer_by_layer = layer_by_layer
    every = list(devices or jax.devices())
    slices = len({getattr(device, 'slice_index', None) for device in every})
    shards = len(every) // slices if shards is None else shards
    if shards < 1 or len(every) % shards:
      raise ValueError(
        f'parallelism.shards = {shards} does not divide the {len(every)} '
        'devices. Leave it out to use all of them.'
      )
    self._shards = shards
    self._mesh = _mesh(every, slices, shards)

  @property
  def collectives(self) -> Collectives:
    """Sums and means over the devices of the mesh."""
    return Collectives(
      sum=lambda tree: jax.lax.psum(tree, _ALL),
      mean=lambda tree: jax.lax.pmean(tree, _ALL),
      own_key=lambda key: jax.random.fold_in(key, jax.lax.axis_index(_ALL)),
      gradients=self._gradients,
    )

  def template(self, shapes: Any) -> Any:
    """Returns the shapes and dtypes with their shardings."""
    return jax.tree.map(
      lambda x, sharding: jax.ShapeDtypeStruct(
        x.shape, x.dtype, sharding=sharding
      ),
      shapes,
      self._state_shardings(shapes),
    )

  def initialize(self, function: Callable, *arguments: Any) -> Any:
    """Returns the train state that a function computes, never whole."""
    shardings = self._state_shardings(jax.eval_shape(function, *arguments))
    # A model is traced for its parameters' shapes; what divides that program
    # among the devices cannot divide kernels.
    with traced_for(None):
      return jax.jit(function, out_shardings=shardings)(*arguments)

  def place_state(self, state: Any) -> Any:
    """Puts the parts of a train state on the devices."""
    return jax.device_put(state, self._state_shardings(state))

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
        jax.lax.with_sharding_constraint(state, self._state_shardings(state)),
        jax.lax.with_sharding_constraint(
          report, self._sharding(PartitionSpec())
        ),
      )

    constrained = tracing_for(self._devices, constrained)
    return in_turn(jax.jit(constrained, donate_argnums=(0,)))

  def evaluation(self, function: Callable) -> Callable:
    """Compiles `(params, state, batch) -> (metrics, arrays of examples)`."""

    def on_devices(params: Any, state: Any, batch: Any) -> tuple[Any, Any]:
      specs = _specs(params, self._shards)

      def on_one(params: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        with self._parameters_whole(params, specs) as params:
          return function(params, state, batch)

      return self._on_each(
        on_one,
        (specs, PartitionSpec(), PartitionSpec(_ALL)),
        (PartitionSpec(), PartitionSpec(_ALL)),
      )(params, state, batch)

    return in_turn(jax.jit(tracing_for(self._devices, on_devices)))

  def place_batch(self, batch: Any) -> Any:
    """Makes the global batch `[B, ...]` of the processes' `[b, ...]`."""
    sharding = self._batch_sharding()
    return jax.tree.map(
      lambda x: jax.make_array_from_process_local_data(sharding, x), batch
    )

  def batch_template(self, shapes: Any) -> Any:
    """Returns shapes `[B, ...]` with their sharding."""
    return jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(
        x.shape, x.dtype, sharding=self._batch_sharding()
      ),
      shapes,
    )

  def gather_examples(self, arrays: Any) -> Any:
    """Brings `[B, ...]` to every process."""
    return gather(arrays)

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
    return gather(state)

  def _gradients(self, function: Gradients) -> Gradients:
    def on_devices(
      params: Any, state: Any, step: jax.Array, batch: Any
    ) -> tuple[Any, Any]:
      specs = _specs(params, self._shards)

      def on_one(params: Any, *arguments: Any) -> tuple[Any, Any]:
        with self._parameters_whole(params, specs) as params:
          gradients, others = function(params, *arguments)
        return jax.tree.map(self._sum, gradients, specs), others

      whole = PartitionSpec()
      return self._on_each(
        on_one,
        (specs, whole, whole, PartitionSpec(_ALL)),
        (specs, whole),
      )(params, state, step, batch)

    return on_devices

  def _on_each(self, function: Callable, in_specs: Any, out_specs: Any):
    # Results that are the same everywhere are so by `collectives`, which jax
    # cannot check through all that a model does.
    return jax.shard_map(
      function,
      mesh=self._mesh,
      in_specs=in_specs,
      out_specs=out_specs,
      check_vma=False,
    )

  @contextlib.contextmanager
  def _parameters_whole(self, params: Any, specs: Any) -> Iterator[Any]:
    """On one device, parts of parameters as a model can take them."""
    if not self._layer_by_layer:
      yield jax.tree.map(_gather_part, params, specs)
      return

    def gathered(next_getter, value, context):
      wanted = context.original_shape
      cut = [i for i, n in enumerate(wanted) if value.shape[i] != n]
      return next_getter(_all_gather(value, *cut) if cut else value)

    def around_modules(next_method, args, kwargs, context):
      with hk.custom_getter(gathered):
        return next_method(*args, **kwargs)

    with hk.intercept_methods(around_modules):
      yield params

  def _sum(self, gradient: jax.Array, spec: PartitionSpec) -> jax.Array:
    """A device's part of the sum of a gradient over all devices."""
    if not any(spec):
      return jax.lax.psum(gradient, _ALL)
    if not self._layer_by_layer:  # There the layers have done this already.
      gradient = jax.lax.psum_scatter(
        gradient, _SHARDS, scatter_dimension=len(spec) - 1, tiled=True
      )
    repeated = [axis for axis in _REPEATED if self._mesh.shape[axis] > 1]
    return jax.lax.psum(gradient, repeated) if repeated else gradient

  def _sharding(self, spec: PartitionSpec) -> NamedSharding:
    return NamedSharding(self._mesh, spec)

  def _batch_sharding(self) -> NamedSharding:
    return self._sharding(PartitionSpec(_ALL))

  def _state_shardings(self, state: Any) -> Any:
    return jax.tree.map(self._sharding, _specs(state, self._shards))


def _specs(tree: Any, shards: int) -> Any:
  """How arrays are cut: along the longest axis that the shards divide.

  The last of equal ones is taken; layers of a stack stay together.
  """

  def spec(path: Any, array: Any) -> PartitionSpec:
    is_stack = any(
      is_layer_stack(key.key)
      for key in path
      if isinstance(key, jax.tree_util.DictKey)
    )
    options = [
      (size, axis)
      for axis, size in enumerate(array.shape)
      if size % shards == 0 and not (is_stack and axis == 0)
    ]
    if not options:
      return PartitionSpec()
    _, axis = max(options)
    return PartitionSpec(*[None] * axis, _SHARDS)

  return jax.tree_util.tree_map_with_path(spec, tree)


def _gather_part(part: jax.Array, spec: PartitionSpec) -> jax.Array:
  return _all_gather(part, len(spec) - 1) if any(spec) else part


def _all_gather(part: jax.Array, axis: int) -> jax.Array:
  return jax.lax.all_gather(part, _SHARDS, axis=axis, tiled=True)


def _mesh(devices: Sequence[jax.Device], slices: int, shards: int) -> Mesh:
  """Returns devices as `[slices, replicas, shards]`."""
  each = len(devices) // slices
  if slices > 1 and each % shards == 0:
    array = mesh_utils.create_hybrid_device_mesh(
      (1, each // shards, shards), (slices, 1, 1), devices
    )
  else:  # A replica that is larger than a slice, too, is laid over all.
    array = mesh_utils.create_device_mesh(
      (1, len(devices) // shards, shards), devices
    )
  return Mesh(array, _ALL)
