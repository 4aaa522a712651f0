"""Processes that share a disk prepare a data set one after the other."""

import contextlib
import fcntl
import pathlib
from collections.abc import Iterator

import tensorflow_datasets as tfds


@contextlib.contextmanager
def one_at_a_time(name: str, data_dir: str | None) -> Iterator[None]:
  """Waits while another process opens this data set, and perhaps prepares it.

  All processes of a run open it at once, and only one may prepare it: the
  others then find it there. On a disk that cannot be written nothing is
  prepared, and nobody waits; so it is where files cannot be locked.

  Args:
    name: of the data set.
    data_dir: where TFDS keeps prepared data; None for its own default.
  """
  folder = pathlib.Path(data_dir or tfds.core.constants.DATA_DIR).expanduser()
  with contextlib.ExitStack() as stack:
    with contextlib.suppress(OSError):
      folder.mkdir(parents=True, exist_ok=True)
      file = stack.enter_context(
        (folder / f'.{name}.lock').open('w', encoding='utf-8')
      )
      try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError:
        print(f'Waiting for another process to open {name}.', flush=True)
        fcntl.flock(file, fcntl.LOCK_EX)
    yield
