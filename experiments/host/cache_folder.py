"""Where copies lie that can be made again."""

import os
import pathlib


def cache_folder() -> pathlib.Path:
  """Returns `~/.cache/perceiver_jax`, or that of `XDG_CACHE_HOME`."""
  cache = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
  return pathlib.Path(cache) / 'perceiver_jax'
