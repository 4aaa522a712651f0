"""Flags that the commands share, and how they end on a user's mistake."""

import contextlib
import pathlib
import sys
from collections.abc import Callable

import ml_collections
from absl import app, flags, logging
from ml_collections import config_flags

from experiments.configuration import read_config, take_open_values

CONFIG = config_flags.DEFINE_config_file(
  'config',
  None,
  'File with the experiment, such as experiments/configs/digits.py; '
  '--config.KEY=VALUE changes one of its values. Default: the config.json of '
  '--workdir.',
)
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


def run(command: Callable[[], None]) -> None:
  """Parses the flags and runs a command.

  A ValueError or OSError is a mistake in the config, the data or the disk: it
  ends with its message alone and exit code 2, or as usual with --debug.
  """

  def main(argv: list[str]) -> None:
    if len(argv) > 1:
      raise app.UsageError(f'Unknown arguments: {argv[1:]}')
    # The libraries' notes go unseen; what matters we print ourselves.
    logging.set_verbosity(logging.ERROR)
    try:
      command()
    except (ValueError, OSError) as error:
      if DEBUG.value:
        raise
      print(f'Error: {error}', file=sys.stderr)
      sys.exit(2)

  app.run(main)
