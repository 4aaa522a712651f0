"""Whether all processes of a run see the workdir that the first one writes to.

Otherwise the run trains, and its checkpoints are never whole.
"""

import contextlib
import pathlib
import secrets
import socket
import time

from experiments import agreement, processes

# A mounted bucket may not know of a new folder for some seconds.
_PATIENCE_SECONDS = 15.0


def check_shared(workdir: pathlib.Path) -> None:
  """Has all processes look for a file that the first one makes.

  Args:
    workdir: of the run; the first process can write there.

  Raises:
    OSError: some do not see it; in every process with the same words.
  """
  name = f'.seen_by_all_{secrets.token_hex(8)}'
  if processes.is_first():
    (workdir / name).write_text('', encoding='utf-8')
  mark = workdir / bytes(agreement.of_first(list(name.encode()))).decode()
  unseen = '' if _appears(mark) else socket.gethostname()
  hosts = sorted({host for host in agreement.of_each(unseen) if host})
  if processes.is_first():
    mark.unlink()
  if hosts:
    raise OSError(
      f'The workdir {workdir} that process 0 writes to, on '
      f'{agreement.of_each(socket.gethostname())[0]}, is not seen on '
      f'{", ".join(hosts)}: it must be on a disk that all machines of a run '
      'share, such as NFS or Lustre. Choose another with --workdir.'
    )


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
