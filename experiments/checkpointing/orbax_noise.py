"""Orbax's own reports of what fails: many pages, for what we say in a line."""

import logging
import pathlib
import sys
import types


def silence() -> None:
  """Drops them. Nothing else is dropped; calling it again changes nothing."""
  logging.getLogger('absl').addFilter(_is_not_of_orbax)
  if not isinstance(sys.unraisablehook, _Hook):
    sys.unraisablehook = _Hook(sys.unraisablehook)


def _is_not_of_orbax(record: logging.LogRecord) -> bool:
  return 'orbax' not in pathlib.Path(record.pathname).parts


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
    path = pathlib.Path(traceback.tb_frame.f_code.co_filename)
    if path.parent.name != 'asyncio':
      return False
    traceback = traceback.tb_next
  return True
