"""Runs a command that ends when its launcher does, however that ends.

  python -m experiments.launch.attached MODULE ARGUMENT ...

runs `python -m MODULE ARGUMENT ...`. Standard input is a pipe that the launcher
holds open and never writes to: the system closes it with the launcher, on every
system that has pipes. (Linux could send a signal instead, but when the thread
of the launcher ends that started this process, and nothing elsewhere.)
"""

import os
import runpy
import signal
import sys
import threading


def _end_with_launcher() -> None:
  """Waits for the launcher's end, then ends this process and its own."""
  while os.read(0, 1):
    pass
  # The launcher has made this process the leader of a group.
  os.killpg(os.getpgrp(), signal.SIGKILL)


def main() -> None:
  """Runs the module that the first argument names."""
  threading.Thread(target=_end_with_launcher, daemon=True).start()
  module = sys.argv.pop(1)
  runpy.run_module(module, run_name='__main__', alter_sys=True)


if __name__ == '__main__':
  main()
