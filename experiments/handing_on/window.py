"""Which releases of jax open what one of them has exported.

jax promises it of those up to 3 weeks older and up to 6 months newer; what
counts is when jaxlib was released, not when it was used
(https://docs.jax.dev/en/latest/export/export.html#compatibility-guarantees).
StableHLO itself promises 5 years (https://openxla.org/stablehlo/compatibility),
but not what jax wraps it in: jax 0.12.0.1 refuses a function of jax 0.8.1.
"""

import datetime
from typing import NamedTuple

import jaxlib.version

_WEEKS_OLDER, _MONTHS_NEWER = 3, 6
# By https://pypi.org/project/jaxlib/#history.
_RELEASED = {
  (0, 8, 1): '2025-11-18',
  (0, 8, 2): '2025-12-18',
  (0, 8, 3): '2026-01-29',
  (0, 9, 0): '2026-01-20',
  (0, 9, 0, 1): '2026-02-05',
  (0, 9, 1): '2026-03-02',
  (0, 9, 2): '2026-03-18',
  (0, 10, 0): '2026-04-16',
  (0, 10, 1): '2026-05-20',
  (0, 10, 2): '2026-06-17',
  (0, 11, 0): '2026-07-16',
  (0, 11, 1): '2026-08-17',
  (0, 12, 0): '2026-10-19',
  (0, 12, 0, 1): '2026-10-21',
}


class Window(NamedTuple):
  """When the releases of jax came out that are promised to open a function.

  Attributes:
    first: day of the oldest ones.
    last: day of the newest ones.
  """

  first: datetime.date
  last: datetime.date


def own_window() -> Window:
  """Returns the window of what is exported now."""
  return window_of(jaxlib.version.__version_info__)


def window_of(jaxlib_version: tuple[int, ...]) -> Window:
  """Returns the window of what a release of jaxlib exports.

  Args:
    jaxlib_version: its numbers. Of one that is not known here, the window is
      that of the last one before: it ends too early, never too late.
  """
  known = max(each for each in _RELEASED if each <= jaxlib_version)
  released = datetime.date.fromisoformat(_RELEASED[known])
  months = released.month - 1 + _MONTHS_NEWER
  return Window(
    released - datetime.timedelta(weeks=_WEEKS_OLDER),
    # Every month has a 28th.
    datetime.date(
      released.year + months // 12, months % 12 + 1, min(released.day, 28)
    ),
  )
