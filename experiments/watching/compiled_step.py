"""Memory and operations of a step, told by its compilation."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from experiments.measuring.operations import count_operations


class StepEstimate(NamedTuple):
  """What a step takes on each device; None is not known.

  Attributes:
    arguments: bytes of the train state and the batch.
    results: bytes of the new train state and the metrics.
    in_place: bytes of the results that lie where arguments were.
    temporaries: bytes that are needed besides while the step runs.
    products: operations in matrix products and convolutions, as
      `count_operations` counts them.
    compiler_operations: all operations as the compiler counts them, which takes
      the body of a loop for run once.
  """

  arguments: int | None
  results: int | None
  in_place: int | None
  temporaries: int | None
  products: float | None
  compiler_operations: float | None


def estimate_step(
  update: Callable[..., Any], train_state: Any, batch: Any
) -> StepEstimate:
  """Compiles an update and returns what the compiler says of it.

  The same update called with such arguments is not compiled again, as long as
  they are on the devices already.

  Args:
    update: `(train_state, batch) -> (train_state, metrics)`, under `jax.jit` or
      `jax.pmap`.
    train_state: arrays on the devices.
    batch: likewise.
  """
  compiled = update.lower(train_state, batch).compile()
  memory = compiled.memory_analysis()
  cost = compiled.cost_analysis() or {}
  return StepEstimate(
    arguments=getattr(memory, 'argument_size_in_bytes', None),
    results=getattr(memory, 'output_size_in_bytes', None),
    in_place=getattr(memory, 'alias_size_in_bytes', None),
    temporaries=getattr(memory, 'temp_size_in_bytes', None),
    products=_products(update, train_state, batch),
    # A backend that does not count says nothing, 0 or -1.
    compiler_operations=max(cost.get('flops', 0.0), 0.0) or None,
  )


def describe_step(estimate: StepEstimate) -> str:
  """Returns one line; what is not known is left out."""
  told = [*_memory(estimate), *_operations(estimate)]
  return f'Compiled step, on each device: {", ".join(told) or "not known"}.'


def _products(
  update: Callable[..., Any], train_state: Any, batch: Any
) -> float | None:
  try:
    operations = count_operations(update, train_state, batch)
  except ValueError:  # Of a loop of unknown length, for example.
    return None
  devices = jax.tree.leaves(batch)[0].sharding.device_set
  return sum(operations.values()) / len(devices)


def _memory(estimate: StepEstimate) -> list[str]:
  arguments, results, in_place, temporaries = estimate[:4]
  if None in (arguments, results, in_place, temporaries):
    return []
  # The gradient, for example, is a temporary.
  together = arguments + results - in_place + temporaries
  return [
    f'{_megabytes(together)} of memory ({_megabytes(arguments)} state and '
    f'batch, {_megabytes(results - in_place)} more for results, '
    f'{_megabytes(temporaries)} temporaries)'
  ]


def _operations(estimate: StepEstimate) -> list[str]:
  told = []
  if estimate.products is not None:
    told.append(f'{estimate.products / 1e9:,.3f} billion operations')
  if estimate.compiler_operations is not None:
    count = f'{estimate.compiler_operations / 1e9:,.3f} billion'
    told.append(f'{count} to the compiler, which counts loops once')
  return told


def _megabytes(size: int) -> str:
  return f'{size / 1e6:,.1f} MB'
