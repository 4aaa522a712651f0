"""A command for test_launch.py: each process does what its argument says.

  --multihost=HOST:PORT,COUNT,INDEX  ACTION_OF_0  ACTION_OF_1 ...

Actions: exit:CODE, die (by SIGKILL), wait (for SIGINT or SIGTERM), ignore
(SIGTERM), child (starts one that sleeps, prints its number, waits), sum (over
all devices of all processes, with jax).
"""

import os
import signal
import subprocess
import sys
import time


def _wait():
  def stop(number, frame):
    print(f'{signal.Signals(number).name}: saving', flush=True)
    sys.exit(0)

  signal.signal(signal.SIGINT, stop)
  signal.signal(signal.SIGTERM, stop)
  print('waiting', flush=True)
  time.sleep(600)


def _ignore():
  signal.signal(signal.SIGTERM, signal.SIG_IGN)
  print('waiting', flush=True)
  time.sleep(600)


def _child():
  child = subprocess.Popen(['sleep', '600'])
  print(f'child {child.pid}', flush=True)
  _wait()


def _sum(address, count, index):
  import jax
  import numpy as np
  from jax.experimental import multihost_utils

  jax.distributed.initialize(address, count, index)
  total = multihost_utils.process_allgather(np.float32(index + 1)).sum()
  line = f'{jax.local_device_count()} of {jax.device_count()}, sum {total}'
  # At once: Gloo prints lines of its own, in pieces, from other threads.
  print(f'\n{line}\n', end='', flush=True)


def main():
  address, count, index = sys.argv[1].partition('=')[2].split(',')
  action, _, value = sys.argv[2 + int(index)].partition(':')
  if action == 'exit':
    print('cannot go on', file=sys.stderr)
    sys.exit(int(value))
  elif action == 'die':
    os.kill(os.getpid(), signal.SIGKILL)
  elif action == 'wait':
    _wait()
  elif action == 'ignore':
    _ignore()
  elif action == 'child':
    _child()
  elif action == 'sum':
    _sum(address, int(count), int(index))
  else:
    raise ValueError(action)


if __name__ == '__main__':
  main()
