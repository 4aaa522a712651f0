"""Runs commands in forks of one process, which has imported them once.

  python -m tests.forked < CASES > OUTCOMES

CASES is a list in JSON of [mode, arguments]; OUTCOMES of [code, output,
errors], the code of a fork that was killed being negative. Modes:

  parse: reads the flags, and checks the keys and ranges of the config.
  door: trains, up to where data would be opened.
  predict, report: these commands.
  read: a variant of configs/folder.py and a file, as `predict` reads files.
"""

import functools
import gc
import json
import os
import pathlib
import resource
import sys
import tempfile
from typing import NoReturn

from experiments import predict, report, train
from experiments.configs import folder
from experiments.host import command_line
from experiments.host.configuration import fill_defaults
from experiments.tasks import check_config, make_task
from experiments.tasks.open_values import stand_in

_SECONDS = 60  # Of a processor, however busy the machine is.
_BYTES = 8 * 2**30


def _parse() -> None:
  if command_line.CONFIG.value is not None:
    check_config(command_line.config())


def _door() -> None:
  def stop(*arguments):
    del arguments
    sys.exit(0)

  train.open_data = stop
  train.main()


@functools.cache
def _files(variant):
  guess = stand_in(fill_defaults(folder.get_config(variant)))
  return make_task(guess.config, None).data.files


def _read() -> None:
  variant, path = command_line.files()
  _files(variant).read(pathlib.Path(path))


_MODES = {
  'parse': _parse,
  'door': _door,
  'predict': predict.main,
  'report': report.main,
  'read': _read,
}


def _end(mode: str) -> NoReturn:
  """Runs a mode, and ends without the libraries' own ends, which take long."""
  code = 1
  try:
    command_line.run(_MODES[mode], takes_files=True)
  except SystemExit as end:
    code = end.code or 0
  finally:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _outcome(mode: str, arguments: list[str]) -> tuple[int, str, str]:
  with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
    child = os.fork()
    if not child:
      resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
      resource.setrlimit(resource.RLIMIT_DATA, (_BYTES, _BYTES))
      os.dup2(output.fileno(), 1)
      os.dup2(errors.fileno(), 2)
      sys.argv = [mode, *arguments]
      _end(mode)
    _, status = os.waitpid(child, 0)
    texts = []
    for file in (output, errors):
      file.seek(0)
      texts.append(file.read().decode(errors='backslashreplace'))
  return os.waitstatus_to_exitcode(status), *texts


def main() -> None:
  """Writes a line for each case."""
  cases = json.load(sys.stdin)
  for variant in {arguments[0] for mode, arguments in cases if mode == 'read'}:
    _files(variant)
  gc.freeze()  # Forks share what is there as long as they let it be.
  json.dump([_outcome(*case) for case in cases], sys.stdout)


if __name__ == '__main__':
  main()
