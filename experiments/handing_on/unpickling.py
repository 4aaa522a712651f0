"""Reads pickled parameters in a process of its own, within limits.

`perceiver_jax.unpickle` runs nothing that a file asks for. Some bytes can still
ask for years of work, such as a key of tuples of tuples, deep in a machine that
hears no signal. So a helper process reads, with limits on its time and memory;
what it read comes back as plain arrays.
"""

import pathlib
from typing import Any

from experiments.host.helper import Helper, LimitError, Limits
from experiments.host.helper_process import answer
from perceiver_jax.unpickle import load_arrays

_SECONDS = 60.0
# A disk of the slow kind.
_BYTES_A_SECOND = 5e6
# Besides what the file itself takes.
_SPARE_BYTES = 2**30
# Arrays are copied while they are read.
_COPIES = 4


def load_apart(
  path: pathlib.Path, seconds: float | None = None
) -> dict[str, Any]:
  """Reads a pickle as `load_arrays` does, in another process.

  Args:
    path: of the file.
    seconds: that it may take; None for what suits its size.

  Raises:
    ValueError: the file is refused or damaged, or asks for more time or memory
      than parameters of its size do.
    OSError: it cannot be read.
  """
  size = path.stat().st_size
  limits = Limits(
    seconds=_SECONDS + size / _BYTES_A_SECOND if seconds is None else seconds,
    most_bytes=_SPARE_BYTES + _COPIES * size,
    most_answer_bytes=_SPARE_BYTES + size,
  )
  try:
    with Helper(__name__, limits) as helper:
      return helper.ask(str(path))
  except LimitError as error:
    raise ValueError(
      f'{path} {error}, and parameters of its size take less: it is damaged or '
      'made to do harm. Get it again from someone you trust.'
    ) from error


if __name__ == '__main__':
  answer(load_arrays)
