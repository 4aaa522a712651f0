"""Models traced for machines and batches that are not those of this process.

`jax.export` traces a function once, for several platforms and for batches of
any size: a form that suits one kind of device only must not be taken, and a
size that depends on the batch cannot be computed. A compiler for devices that
are not here, on the other hand, is given the forms that suit those.
"""

import contextlib
import contextvars
from collections.abc import Iterator

import jax
from jax import export

_HERE = object()
_TARGET = contextvars.ContextVar('target', default=_HERE)
_PLAIN = contextvars.ContextVar('plain', default=False)


@contextlib.contextmanager
def plain_forms() -> Iterator[None]:
  """While it is open, models are traced in their plain forms.

  These are what the papers say, with gradients that jax derives: for forward-
  mode differentiation (`jax.jvp`), which others refuse; for counting operations
  as the papers do (Perceiver, table 7); for comparing the forms. A function
  that was traced (jitted) outside keeps the forms it was traced with.
  """
  token = _PLAIN.set(True)
  try:
    yield
  finally:
    _PLAIN.reset(token)


def only_plain_forms() -> bool:
  """Whether `plain_forms` is open."""
  return _PLAIN.get()


@contextlib.contextmanager
def traced_for(device: jax.Device | None) -> Iterator[None]:
  """While it is open, models are traced for devices of another kind.

  A function that was traced (jitted) outside keeps the form it was traced with.

  Args:
    device: one of that kind, which need not be here, such as one of
      `jax.experimental.topologies`; None for any platform at all.
  """
  token = _TARGET.set(device)
  try:
    yield
  finally:
    _TARGET.reset(token)


def target_device() -> jax.Device | None:
  """Returns a device of the kind that is traced for; None for any platform."""
  target = _TARGET.get()
  return jax.devices()[0] if target is _HERE else target


def target_platform() -> str | None:
  """Returns 'cpu', 'gpu' or 'tpu', what is traced for; None for any."""
  device = target_device()
  return None if device is None else device.platform


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
