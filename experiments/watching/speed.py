"""How much of what the devices could compute a run does.

Operations are counted as the papers count them: those of the forward pass, keys
and values projected plainly, three times for the gradient. What is computed
again to save memory, or in a cheaper form, does not change them.
"""

from typing import NamedTuple

import jax

from experiments.compiling.hardware import peak_rate
from experiments.measuring.forward_pass import forward_operations
from experiments.tasks.task import Task

# A forward pass, and products for the gradients of both their factors.
_GRADIENT = 3


class Speed(NamedTuple):
  """What seconds of a step are measured by.

  Attributes:
    operations: of a step on each device; None where they cannot be counted.
    kind: of the devices.
    peak: operations a second of such a device, in bfloat16; None is unknown.
  """

  operations: float | None
  kind: str
  peak: float | None

  def metrics(self, seconds: float) -> dict[str, float]:
    """Returns what is known of steps of so many seconds, as shares of one."""
    if self.operations is None:
      return {}
    rate = self.operations / seconds
    told = {'teraflops_per_device': rate / 1e12}
    if self.peak is not None:
      told['share_of_peak'] = rate / self.peak
    return told

  def describe(self) -> str:
    """Returns one line."""
    count = (
      'unknown'
      if self.operations is None
      else f'{self.operations / 1e9:,.3f} billion'
    )
    peak = (
      f'unknown ({self.kind})'
      if self.peak is None
      else f'{self.peak / 1e12:,.0f} TFLOP/s in bfloat16 ({self.kind})'
    )
    return (
      f'Operations of a step on each device, as in the papers: {count}; peak '
      f'of a device: {peak}.'
    )


def speed_of(task: Task, batch_size: int) -> Speed:
  """Counts the operations of a run's steps; its model is traced once.

  Args:
    task: of the run.
    batch_size: global.
  """
  kind = jax.devices()[0].device_kind
  try:
    examples = batch_size / jax.device_count()
    operations = _GRADIENT * examples * forward_operations(task)
  except ValueError:  # Of a loop of unknown length, for example.
    operations = None
  return Speed(operations, kind, peak_rate(kind))
