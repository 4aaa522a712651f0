"""Starts one run as several processes of this machine.

  python -m experiments.launch.local --processes=2 --devices=2 -- \
    --config=experiments/configs/digits.py --workdir=runs/two

Everything after `--` goes to `python -m experiments.train` (or `--module`),
together with `--multihost=127.0.0.1:PORT,COUNT,INDEX`. Each process has
`--devices` simulated CPU devices: to try out what is meant for many machines,
not to go faster. Lines are printed with the number of their process.

Ctrl-C, SIGTERM and SIGHUP go on to all processes, which save a checkpoint and
end. When one fails, the others have `--patience` seconds to notice. The exit
code is that of the first that failed; 128 and more is a signal, as in a shell.
When the launcher is killed, all end.
"""

import argparse
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

_DEVICES_FLAG = '--xla_force_host_platform_device_count'
# After SIGTERM, before SIGKILL. Time to save a checkpoint.
_GRACE_SECONDS = 60.0


def launch(
  arguments: list[str],
  *,
  processes: int,
  devices: int,
  module: str,
  patience: float,
) -> int:
  """Runs the processes until all have ended.

  Args:
    arguments: of the command, --multihost excepted.
    processes: that make up the run.
    devices: simulated CPU devices of each.
    module: of the command.
    patience: seconds that the others have to end once one has failed.

  Returns:
    The exit code for the shell: 0 if all ended well, else that of the first
    that did not, and 128 + n for signal n.
  """
  port = _free_port()
  environment = _environment(devices)
  stop = _Stop()
  running = []
  with stop:
    try:
      for index in range(processes):
        multihost = f'--multihost=127.0.0.1:{port},{processes},{index}'
        running.append(
          _Process(
            index,
            [
              *(sys.executable, '-m', 'experiments.launch.attached'),
              *(module, multihost, *arguments),
            ],
            environment,
          )
        )
      return _wait(running, stop, patience)
    finally:
      for process in running:
        process.end()


class _Process:
  """One process and the thread that passes its lines on."""

  def __init__(
    self, index: int, command: list[str], environment: dict[str, str]
  ):
    self._index = index
    self._popen = subprocess.Popen(
      command,
      env=environment,
      stdin=subprocess.PIPE,  # See `attached.py`.
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      encoding='utf-8',
      errors='replace',
      # A terminal's Ctrl-C goes to its foreground group: it would come twice,
      # and the second stops a run at once.
      process_group=0,
    )
    self._printer = threading.Thread(target=self._print, daemon=True)
    self._printer.start()

  def code(self) -> int | None:
    """As a shell counts; None while it runs."""
    code = self._popen.poll()
    return 128 - code if code is not None and code < 0 else code

  def send(self, number: int) -> None:
    """Sends a signal, if it still runs."""
    self._popen.send_signal(number)

  def end(self) -> None:
    """Kills what is left, and waits for its last lines."""
    # Its own children, such as workers of the data pipeline, too.
    with contextlib.suppress(ProcessLookupError):
      os.killpg(self._popen.pid, signal.SIGKILL)
    self._popen.wait()
    self._printer.join()

  def _print(self) -> None:
    for line in self._popen.stdout:
      # A terminal may be closed; what runs is to save, and must not wait.
      with contextlib.suppress(OSError):
        sys.stdout.write(f'[{self._index}] {line.rstrip()}\n')
        sys.stdout.flush()


class _Stop:
  """Collects signals within its `with` block, to be passed on."""

  def __init__(self):
    """Handlers are set on entering the block."""
    self._signals = []
    self._previous = {}

  def __enter__(self) -> '_Stop':
    watched = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # By nohup.
      watched.append(signal.SIGHUP)
    for number in watched:
      self._previous[number] = signal.signal(
        number, lambda number, frame: self._signals.append(number)
      )
    return self

  def __exit__(self, *exception) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)

  def take(self) -> list[int]:
    """The signals that came since the last call."""
    signals, self._signals = self._signals, []
    return signals


def _wait(processes: list[_Process], stop: _Stop, patience: float) -> int:
  """Passes signals on; returns the exit code once all have ended."""
  first_failure = 0
  terminate_at = kill_at = float('inf')
  while True:
    codes = [process.code() for process in processes]
    if any(codes) and not first_failure:
      # On a busy machine one that ends because of another may have ended by
      # now too, and been asked later or before it. Who ends for another's sake
      # says so by its code; asked again, the cause is there.
      codes = [process.code() for process in processes]
      failures = [code for code in codes if code]
      causes = [code for code in failures if code != os.EX_TEMPFAIL]
      first_failure = (causes or failures)[0]
      terminate_at = time.monotonic() + patience
      index = codes.index(first_failure)
      _say(f'process {index} ended with exit code {first_failure}.')
    if None not in codes:
      return first_failure
    for number in stop.take():
      _send(processes, number)
    if time.monotonic() > terminate_at:
      _say(f'terminating those left after {patience:g} seconds.')
      _send(processes, signal.SIGTERM)
      terminate_at = float('inf')
      kill_at = time.monotonic() + _GRACE_SECONDS
    if time.monotonic() > kill_at:
      return first_failure
    time.sleep(0.05)


def _send(processes: list[_Process], number: int) -> None:
  for process in processes:
    process.send(number)


def _environment(devices: int) -> dict[str, str]:
  """The user's, with simulated CPU devices for jax."""
  flags = re.sub(rf'{_DEVICES_FLAG}=\S*', '', os.environ.get('XLA_FLAGS', ''))
  return os.environ | {
    'JAX_PLATFORMS': 'cpu',
    'PYTHONUNBUFFERED': '1',
    'XLA_FLAGS': f'{flags} {_DEVICES_FLAG}={devices}'.strip(),
  }


def _free_port() -> int:
  # Somebody else may take it before process 0 does; rarely, and with an error.
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    return probe.getsockname()[1]


def _say(text: str) -> None:
  with contextlib.suppress(OSError):
    print(f'launch: {text}', file=sys.stderr, flush=True)


def _positive(text: str) -> int:
  value = int(text)
  if value < 1:
    raise argparse.ArgumentTypeError(f'{text} is less than 1')
  return value


def main() -> None:
  """Reads the command line and launches."""
  parser = argparse.ArgumentParser(
    prog='python -m experiments.launch.local',
    description='Starts one run as several processes of this machine.',
  )
  parser.add_argument(
    '--processes', type=_positive, default=2, help='of the run'
  )
  parser.add_argument(
    '--devices',
    type=_positive,
    default=1,
    help='simulated CPU devices of each process',
  )
  parser.add_argument(
    '--module', default='experiments.train', help='the command to start'
  )
  parser.add_argument(
    '--patience',
    type=float,
    default=30.0,
    help='seconds the others have to end by themselves once one has failed',
  )
  parser.add_argument(
    'arguments', nargs='*', metavar='-- --FLAG', help='of the command'
  )
  options = parser.parse_args()
  sys.exit(
    launch(
      options.arguments,
      processes=options.processes,
      devices=options.devices,
      module=options.module,
      patience=options.patience,
    )
  )


if __name__ == '__main__':
  main()
