"""Whether all processes of a run see a folder that the first one writes to.

If not the workdir, the run trains, and its checkpoints are never whole.
"""

import contextlib
import pathlib
import secrets
import socket
import time
from collections.abc import Iterator

from experiments.host import agreement, processes

# A mounted bucket may not know of a new folder for some seconds.
_PATIENCE_SECONDS = 15.0


def check_shared(workdir: pathlib.Path) -> None:
  """Has all processes look for a mark in the workdir.

  Args:
    workdir: of the run; the first process can write there.

  Raises:
    OSError: some do not see it; in every process with the same words.
  """
  with mark_of_first(workdir) as mark:
    unseen = '' if _appears(mark) else socket.gethostname()
    hosts = sorted({host for host in agreement.of_each(unseen) if host})
  if hosts:
    raise OSError(
      f'The workdir {workdir} that process 0 writes to, on '
      f'{agreement.of_each(socket.gethostname())[0]}, is not seen on '
      f'{", ".join(hosts)}: it must be on a disk that all machines of a run '
      'share, such as NFS or Lustre. Choose another with --workdir.'
    )


@contextlib.contextmanager
def mark_of_first(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """Has the first process make a file that all can look for, in the block.

  Args:
    folder: where it is made; where that fails, nobody sees it.

  Yields:
    The file, which is there by now. In the block all processes come to an
    agreement: after it the file is removed.
  """
  mark = folder / agreement.of_each(f'.{secrets.token_hex(8)}.seen')[0]
  if processes.is_first():
    with contextlib.suppress(OSError):
      folder.mkdir(parents=True, exist_ok=True)
      mark.touch()
  agreement.any_process(False)  # It is there before anyone looks.
  yield mark
  if processes.is_first():
    with contextlib.suppress(OSError):  # It may be somebody else's.
      mark.unlink(missing_ok=True)


def _appears(mark: pathlib.Path) -> bool:
  """Returns whether a file can be seen, at once or a little later."""
  # NFS remembers for up to a minute that there was no such folder, unless it
  # fails to make it.
  with contextlib.suppress(OSError):
    mark.parent.mkdir(exist_ok=True)
  until = time.monotonic() + _PATIENCE_SECONDS
  while not (seen := mark.exists()) and time.monotonic() < until:
    time.sleep(0.2)
  if not seen:
    with contextlib.suppress(OSError):
      mark.parent.rmdir()  # Of this machine alone; it stays if it is not empty.
  return seen
