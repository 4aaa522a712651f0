"""Orbax's own reports of what fails: many pages, for what we say in a line."""

import logging
import pathlib
import sys
import types

import orbax.checkpoint

# By its place, not its name: a path of ours may have a folder `orbax` too.
_ORBAX = pathlib.Path(orbax.checkpoint.__file__).parents[1]


def silence() -> None:
  """Drops them. Nothing else is dropped; calling it again changes nothing."""
  logging.getLogger('absl').addFilter(_is_not_of_orbax)
  if not isinstance(sys.unraisablehook, _Hook):
    sys.unraisablehook = _Hook(sys.unraisablehook)


def _is_not_of_orbax(record: logging.LogRecord) -> bool:
  return not pathlib.Path(record.pathname).is_relative_to(_ORBAX)


class _Hook:
  """Prints what was raised where nobody could catch it, but for one thing.

  After an error, Orbax closes an event loop while reads and writes of other
  arrays go on. Each of them then finds it closed.
  """

  def __init__(self, hook):
    self._hook = hook

  def __call__(self, unraisable) -> None:
    if unraisable.exc_type is not RuntimeError or not _is_of_asyncio_alone(
      unraisable.exc_traceback
    ):
      self._hook(unraisable)


def _is_of_asyncio_alone(traceback: types.TracebackType | None) -> bool:
  """Whether no code of anybody else was under way."""
  while traceback is not None:
    package, *_ = traceback.tb_frame.f_globals['__name__'].split('.')
    if package != 'asyncio':
      return False
    traceback = traceback.tb_next
  return True
