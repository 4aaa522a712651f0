"""Flags that the commands share, and how they end on a user's mistake."""

import contextlib
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import ml_collections
from absl import app, flags, logging
from ml_collections import config_flags

from experiments import processes
from experiments.configuration import (
  fill_defaults,
  read_config,
  take_open_values,
)

_files: list[str] = []


class _WithDefaults(flags.ArgumentParser):
  """Adds what every run can be told to the configs of another parser."""

  def __init__(self, parser: flags.ArgumentParser):
    super().__init__()
    self._parser = parser

  def parse(self, argument: str) -> Any:
    """Returns the config of a file, see `configuration.RUN_DEFAULTS`."""
    config = self._parser.parse(argument)
    if not isinstance(config, ml_collections.ConfigDict):
      return config  # Says what is wrong with the file when it is used.
    return fill_defaults(config)


CONFIG = config_flags.DEFINE_config_file(
  'config',
  None,
  'File with the experiment, such as experiments/configs/digits.py; '
  '--config.KEY=VALUE changes one of its values. Default: the config.json of '
  '--workdir.',
  lock_config=False,
  accept_new_attributes=True,
)
# What is not in a file, nor in `RUN_DEFAULTS`, is found out by our own checks,
# which know what it may have been meant for.
flags.FLAGS['config'].parser = _WithDefaults(flags.FLAGS['config'].parser)
WORKDIR = flags.DEFINE_string(
  'workdir',
  None,
  'Folder of the run: checkpoints, metrics, events. Default: '
  'runs/<config name>.',
)
DATA_DIR = flags.DEFINE_string(
  'data_dir',
  None,
  'Folder of prepared TFDS data sets. Default: that of TFDS, '
  '~/tensorflow_datasets.',
)
_MULTIHOST = flags.DEFINE_string(
  'multihost',
  None,
  "Joins the other processes of the run: 'auto' on Cloud TPU and Slurm, or "
  'HOST:PORT,COUNT,INDEX. Default: a run of one process.',
)
_HEARTBEAT = flags.DEFINE_integer(
  'heartbeat_seconds',
  100,
  'With --multihost: a process that is not heard of for so long ends the run.',
)
DEBUG = flags.DEFINE_bool(
  'debug', False, 'Show the traceback of an error in the config or the data.'
)


def config() -> ml_collections.ConfigDict:
  """Returns --config, or the config of the run in --workdir.

  What --config leaves open, None, was chosen when the run in the workdir began,
  and is taken from there.

  Raises:
    ValueError: there is neither.
  """
  if CONFIG.value is not None:
    with contextlib.suppress(FileNotFoundError):
      take_open_values(CONFIG.value, read_config(workdir()))
    return CONFIG.value
  if not WORKDIR.value:
    raise ValueError(
      'Name an experiment by --config=experiments/configs/NAME.py, or a run '
      'that was begun by --workdir.'
    )
  try:
    return read_config(pathlib.Path(WORKDIR.value))
  except FileNotFoundError as error:
    raise ValueError(f'{error} Name an experiment by --config.') from error


def workdir() -> pathlib.Path:
  """Returns --workdir, or `runs/<config name>[-<variant>]`."""
  if WORKDIR.value:
    return pathlib.Path(WORKDIR.value)
  return pathlib.Path('runs') / config_name().replace(':', '-')


def config_name() -> str:
  """Returns `<config name>[:<variant>]` of --config; '' without."""
  if CONFIG.value is None:
    return ''
  filename, _, variant = config_flags.get_config_filename(
    flags.FLAGS['config']
  ).partition(':')
  name = pathlib.Path(filename).stem
  return f'{name}:{variant}' if variant else name


def files() -> tuple[str, ...]:
  """Returns the files that the command was given."""
  return tuple(_files)


def run(command: Callable[[], None], *, takes_files: bool = False) -> None:
  """Parses the flags and runs a command.

  A ValueError or OSError is a mistake in the config, the data or the disk: it
  ends with its message alone and exit code 2, or as usual with --debug.

  Args:
    command: to run.
    takes_files: whether there may be arguments besides the flags, see `files`.
  """

  def main(argv: list[str]) -> None:
    if argv[1:] and not takes_files:
      raise app.UsageError(f'Unknown arguments: {argv[1:]}')
    _files[:] = argv[1:]
    # The libraries' notes go unseen; what matters we print ourselves.
    logging.set_verbosity(logging.ERROR)
    try:
      processes.join(_MULTIHOST.value, _HEARTBEAT.value)
      command()
    except (ValueError, OSError) as error:
      if DEBUG.value:
        raise
      print(f'Error: {error}', file=sys.stderr)
      sys.exit(2)

  app.run(main)
