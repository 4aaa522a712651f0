"""Models traced for machines and batches that are not known yet.

`jax.export` traces a function once, for several platforms and for batches of
any size: a form that suits one kind of device only must not be taken, and a
size that depends on the batch cannot be computed.
"""

import contextlib
import contextvars
from collections.abc import Iterator

from jax import export

_ANY_PLATFORM = contextvars.ContextVar('any_platform', default=False)


@contextlib.contextmanager
def any_platform() -> Iterator[None]:
  """While it is open, models are traced without what one platform has alone.

  A function that was traced (jitted) outside keeps the form it was traced with.
  """
  token = _ANY_PLATFORM.set(True)
  try:
    yield
  finally:
    _ANY_PLATFORM.reset(token)


def runs_here_only() -> bool:
  """Whether what is traced runs on the devices of this process, no others."""
  return not _ANY_PLATFORM.get()


def planned_batch(size: int) -> int:
  """Returns the number of examples to plan a computation for.

  Args:
    size: of the batch; a symbol where it is not known yet.

  Returns:
    The size; 1 where it is not known, so that what is planned suits the
    smallest batch and grows with larger ones.
  """
  return 1 if export.is_symbolic_dim(size) else size


def may_be_several(size: int) -> bool:
  """Whether a batch is, or may turn out to be, of more than one example.

  Args:
    size: of the batch; a symbol where it is not known yet.
  """
  return export.is_symbolic_dim(size) or size > 1
