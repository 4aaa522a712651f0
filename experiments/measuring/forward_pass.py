"""Operations of a model as the papers print them."""

from experiments.data.dataset import batch_spec
from experiments.measuring.operations import count_forward
from experiments.stepping.train_state import init_shapes
from experiments.tasks.task import Task
from perceiver_jax.portability import plain_forms


def forward_operations(task: Task) -> int:
  """Returns operations of an example's forward pass, outputs as in training.

  Args:
    task: whose data need not be there.

  Raises:
    ValueError: they cannot be counted, see `count_operations`.
  """
  batch = batch_spec(task.data.example, 1)
  params, state = init_shapes(task.model, batch)
  with plain_forms():
    return sum(count_forward(task.model, params, state, batch).values())
