"""Programs that were compiled are kept: a run that goes on compiles nothing.

jax keeps and finds them itself; how is said here, for all commands: in one
folder, not without end, and only where every process of a run sees the same.
"""

import contextlib
import os
import pathlib
import re
import warnings
from collections.abc import Callable

import jax
from absl import flags
from etils import epath

from experiments.host import addresses, agreement, processes
from experiments.host.cache_folder import cache_folder
from experiments.host.progress import warn
from experiments.host.shared_folders import mark_of_first

_OFF = 'off'
_FOLDER = flags.DEFINE_string(
  'compilation_cache',
  None,
  "Folder of what was compiled before; 'off' keeps nothing. Default: what "
  'JAX_COMPILATION_CACHE_DIR says, or ~/.cache/perceiver_jax.',
)
# Programs that take less are compiled again as fast as they are found.
_LEAST_SECONDS = 0.2
# What has not been used for longest is removed.
_MOST_BYTES = 10 * 2**30
_PROBLEM = re.compile(
  r"Error (reading|writing) persistent compilation cache entry for '(.*?)': "
  r'(.*)',
  re.DOTALL,
)


def chosen_folder() -> epath.Path | None:
  """Returns the folder that --compilation_cache or its default names.

  Returns:
    The folder, in which each kind of program has one of its own; None for
    'off'.

  Raises:
    ValueError: it is an address, but of no folder in a bucket.
  """
  if _FOLDER.value == _OFF:
    return None
  if _FOLDER.value and addresses.is_address(_FOLDER.value):
    return addresses.place(_FOLDER.value, '--compilation_cache')
  if _FOLDER.value:
    return epath.Path(_FOLDER.value).expanduser().absolute()
  return epath.Path(cache_folder())


def start_keeping() -> None:
  """From here on, programs for the devices of this process are kept.

  All processes of a run call it. Who has told jax a folder, and no other by
  --compilation_cache, has it as it is.
  """
  if _FOLDER.value == _OFF:
    jax.config.update('jax_enable_compilation_cache', False)
  if not jax.config.jax_enable_compilation_cache:
    return
  told = None if _FOLDER.value else jax.config.jax_compilation_cache_dir
  folder = epath.Path(told) if told else chosen_folder() / 'compiled'
  warnings.filterwarnings('always', 'Error reading persistent compilation')
  warnings.showwarning = _telling(folder, warnings.showwarning)
  if told:
    return
  # Asking jax for its processes starts the devices: errors should come first.
  is_one_of_several = jax.distributed.is_initialized()
  if is_one_of_several and not _all_see(folder):
    jax.config.update('jax_enable_compilation_cache', False)
    processes.say(
      f'Compiled programs are not kept: {folder} is not the same folder in all '
      'processes. Name one that is by --compilation_cache.'
    )
    return
  if not is_one_of_several or processes.is_first():
    remove_unused(folder, _MOST_BYTES)
  jax.config.update('jax_compilation_cache_dir', str(folder))
  if 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS' not in os.environ:
    jax.config.update(
      'jax_persistent_cache_min_compile_time_secs', _LEAST_SECONDS
    )


def remove_unused(folder: epath.Path, most_bytes: int) -> None:
  """Removes what has not been read for longest, until the rest is small enough.

  Args:
    folder: of files; there need not be one. From a bucket nothing is removed:
      it has rules of its own.
    most_bytes: that may stay.
  """
  files = []
  for path in pathlib.Path(folder).glob('*-cache'):
    try:
      status = path.stat()
    except OSError:
      continue  # Another process has removed it.
    used = max(status.st_atime, status.st_mtime)
    files.append((used, status.st_size, path))
  total = sum(size for _, size, _ in files)
  for _, size, path in sorted(files):
    if total <= most_bytes:
      return
    _remove(path)
    total -= size


def _all_see(folder: epath.Path) -> bool:
  """Whether all processes of a run have the same folder.

  If only some of them found what was compiled, the others would compile alone
  what GPUs compile together.
  """
  with mark_of_first(folder) as mark:
    return not agreement.any_process(not mark.exists())


def _telling(folder: epath.Path, otherwise: Callable) -> Callable:
  """Returns what shows warnings: of the folder in a line, others as before."""

  def show(message, category, filename, lineno, file=None, line=None):
    problem = _PROBLEM.fullmatch(str(message))
    if not problem:
      otherwise(message, category, filename, lineno, file, line)
      return
    what, program, reason = problem.groups()
    reason = reason.strip().partition('\n')[0]
    if what == 'writing':
      warn(
        f'Compiled programs cannot be kept in {folder}: {reason}. Another '
        'folder is named by --compilation_cache.'
      )
      return
    # Which of them it is, is not said. jax writes none where there is one.
    for path in folder.glob(f'{program}-*-cache'):
      _remove(path)
    warn(
      f'A compiled program in {folder} cannot be read: {reason}. It is removed '
      'and compiled again.'
    )

  return show


def _remove(path: os.PathLike) -> None:
  with contextlib.suppress(OSError):  # It may be somebody else's.
    path.unlink(missing_ok=True)
