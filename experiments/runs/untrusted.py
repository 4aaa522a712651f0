"""The flag of commands that may be given files of strangers."""

import contextlib

from absl import flags

from experiments.runs.reading_apart import CHOSEN, reading_apart

_UNTRUSTED = flags.DEFINE_bool(
  'untrusted',
  False,
  'The files are of strangers: read each in a helper process, within limits on '
  'time, memory and files.',
)


def reading() -> contextlib.AbstractContextManager[None]:
  """Returns within what files are read, as --untrusted says."""
  return reading_apart(CHOSEN) if _UNTRUSTED.value else contextlib.nullcontext()
