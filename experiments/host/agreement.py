"""What the processes of a run decide together.

All of them call the same function at the same point. A run of one process asks
nobody.
"""

import jax
import numpy as np
from jax.experimental import multihost_utils


def any_process(flag: bool) -> bool:
  """Returns whether the flag of any process is set, the same to all."""
  if jax.process_count() == 1:
    return flag
  return bool(multihost_utils.process_allgather(np.asarray(flag)).any())


def of_first(numbers: list[int]) -> list[int]:
  """Returns the numbers of the first process to all.

  Args:
    numbers: of this process; what the others pass is ignored.
  """
  if jax.process_count() == 1:
    return numbers
  count = int(multihost_utils.broadcast_one_to_all(np.int32(len(numbers))))
  own = np.zeros(count, np.int32)
  if jax.process_index() == 0:
    own[:] = numbers
  return multihost_utils.broadcast_one_to_all(own).tolist()


def of_each(text: str) -> list[str]:
  """Returns the texts of all processes to all, in their order."""
  if jax.process_count() == 1:
    return [text]
  own = np.frombuffer(text.encode(), np.uint8)
  lengths = multihost_utils.process_allgather(np.int32(own.size))
  filled = np.zeros(lengths.max(), np.uint8)
  filled[: own.size] = own
  rows = multihost_utils.process_allgather(filled)
  return [
    row[:length].tobytes().decode()
    for row, length in zip(rows, lengths, strict=True)
  ]
