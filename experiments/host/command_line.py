"""Flags that the commands share, and how they end on a user's mistake."""

import contextlib
import io
import os
import pathlib
import re
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import ml_collections
from absl import app, flags, logging
from ml_collections import config_flags

from experiments.host import addresses, processes
from experiments.host.configuration import (
  DamagedConfigError,
  fill_defaults,
  read_config,
  suggestion,
  take_open_values,
)
from experiments.host.error_text import one_line

_files: list[str] = []
_OVERRIDE = re.compile(r'--?(?:no)?config\.([^=]*)')
# What shells report of a program that a closed pipe has ended.
_SIGPIPE_CODE = 141
# And by Ctrl-C.
_SIGINT_CODE = 130
# Starting again does not help.
_MISTAKE_CODE = 2


class _Mistake(Exception):
  """A config cannot be had; unlike a ValueError, absl adds nothing to it."""


class _WithDefaults(flags.ArgumentParser):
  """Adds what every run can be told to the configs of another parser."""

  def __init__(self, parser: flags.ArgumentParser):
    super().__init__()
    self._parser = parser

  def parse(self, argument: str) -> Any:
    """Returns the config of a file, see `configuration.RUN_DEFAULTS`."""
    _check_config_file(argument)
    try:
      config = self._parser.parse(argument)
    except Exception as error:  # A file of somebody's, with anything in it.
      if '--debug' in sys.argv:  # Flags are still being read.
        raise
      if isinstance(error, TypeError | ValueError) and error.__context__:
        # ml_collections puts the whole traceback into the message.
        error = error.__context__
      raise _Mistake(f'--config={argument}: {_told(error)}') from error
    if not isinstance(config, ml_collections.ConfigDict):
      raise _Mistake(
        f'--config={argument}: get_config returns no ConfigDict, but a '
        f'{type(config).__name__}.'
      )
    config = fill_defaults(config)
    for word in sys.argv:
      if found := _OVERRIDE.match(word):
        _check_key(config, found[1])
    return config


def _told(error: BaseException) -> str:
  """What is wrong with a config file, in one line."""
  if isinstance(error, SyntaxError):
    return f'it is no Python: line {error.lineno}, {error.msg}.'
  if isinstance(error, AttributeError) and 'get_config' in str(error):
    return 'it has no function get_config.'
  return f'{one_line(error)}.'


def _check_key(config: ml_collections.ConfigDict, path: str) -> None:
  """Ends with one line where a flag sets what no config can have."""
  *sections, key = path.split('.')
  if not all(name.isidentifier() for name in (*sections, key)):
    raise _Mistake(
      f'--config.{path} is no key: name it as --config.SECTION.KEY=VALUE.'
    )
  for depth, name in enumerate(sections, start=1):
    place = '.'.join(sections[:depth])
    if name not in config:
      raise _Mistake(
        f'Unknown config section {place}{suggestion(name, config)} Known '
        f'there: {sorted(config)}.'
      )
    config = config[name]
    if not isinstance(config, ml_collections.ConfigDict):
      raise _Mistake(
        f'config.{place} is {config!r}, not a section: it has no key '
        f'{path.removeprefix(f"{place}.")!r}.'
      )


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
  'Folder of the run: checkpoints, metrics, events; may be gs://BUCKET/PATH or '
  's3://BUCKET/PATH. Default: runs/<config name>.',
)
_DATA_DIR = flags.DEFINE_string(
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
    # One that is damaged is made anew from --config.
    with contextlib.suppress(FileNotFoundError, DamagedConfigError):
      take_open_values(CONFIG.value, read_config(workdir()))
    return CONFIG.value
  if not WORKDIR.value:
    raise ValueError(
      'Name an experiment by --config=experiments/configs/NAME.py, or a run '
      'that was begun by --workdir.'
    )
  try:
    return read_config(workdir())
  except FileNotFoundError as error:
    raise ValueError(f'{error} Name an experiment by --config.') from error


def workdir() -> pathlib.Path:
  """Returns --workdir, or `runs/<config name>[-<variant>]`."""
  if WORKDIR.value:
    return addresses.place(WORKDIR.value, '--workdir')
  return pathlib.Path('runs') / config_name().replace(':', '-')


def data_dir() -> str | None:
  """Returns --data_dir; None for the folder that TFDS takes by itself.

  Raises:
    ValueError: it is none of this machine.
  """
  for what, text in (
    ('--data_dir', _DATA_DIR.value),
    ('The variable TFDS_DATA_DIR', os.environ.get('TFDS_DATA_DIR')),
  ):
    if text:
      addresses.local(
        text, what, 'records of array_record are read from disks alone'
      )
  return _DATA_DIR.value


def config_name() -> str:
  """Returns `<config name>[:<variant>]` of --config; '' without."""
  if CONFIG.value is None:
    return ''
  filename, _, variant = config_file().partition(':')
  name = pathlib.Path(filename).stem
  return f'{name}:{variant}' if variant else name


def config_file() -> str:
  """Returns what --config names: `FILE[:VARIANT]`."""
  return config_flags.get_config_filename(flags.FLAGS['config'])


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
      _fail(f'Unknown arguments: {argv[1:]}. See --help.')
    _files[:] = argv[1:]
    # The libraries' notes go unseen; what matters we print ourselves.
    logging.set_verbosity(logging.ERROR)
    try:
      with processes.joined(_MULTIHOST.value, _HEARTBEAT.value):
        command()
    except KeyboardInterrupt:
      # The second one where the first asks a run to save.
      print('Interrupted.', file=sys.stderr, flush=True)
      processes.leave(_SIGINT_CODE, 'it was interrupted.')
    except BrokenPipeError:
      # Who reads the output, such as `head`, has had enough of it.
      os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
      processes.leave(_SIGPIPE_CODE, 'nobody reads what it prints.')
    except Exception as error:
      if isinstance(error, ValueError | OSError) and not DEBUG.value:
        _fail(error)
      traceback.print_exc()
      processes.leave(1, one_line(error))

  for stream in (sys.stdout, sys.stderr):
    # In any locale; what is no text, as in some names of files, is spelled out.
    if isinstance(stream, io.TextIOWrapper):
      stream.reconfigure(
        encoding='utf-8',
        errors='backslashreplace',
        # Line by line, in one piece: another thread may have one to print.
        line_buffering=True,
        write_through=False,
      )
  app.run(main, flags_parser=_parse_flags)


def _parse_flags(argv: list[str]) -> list[str]:
  """Returns what is no flag; a flag that is wrong ends with one line."""
  # Those of every module that the command consists of, for --help.
  for module, defined in flags.FLAGS.flags_by_module_dict().items():
    if module.startswith('experiments.'):
      for flag in defined:
        flags.FLAGS.register_key_flag_for_module(argv[0], flag)
  try:
    rest = flags.FLAGS(argv)
  except _Mistake as error:
    _fail(error)
  except flags.Error as error:
    _fail(f'{" ".join(str(error).split())} See --help.')
  _check_names()
  return rest


def _check_names() -> None:
  """Ends with one line where a folder has a name that libraries cannot take."""
  for flag in (WORKDIR, _DATA_DIR):
    try:
      (flag.value or '').encode()
    except UnicodeEncodeError:
      _fail(
        f'--{flag.name}={flag.value} is no UTF-8, or no text in this locale. '
        'Rename the folder, or set LC_ALL=C.UTF-8.'
      )


def _check_config_file(name: str) -> None:
  """Ends with one line where --config names no file."""
  if addresses.is_address(name):
    raise _Mistake(
      f'--config={name} is an address. Copy the file, and name that.'
    )
  path = pathlib.Path(name.partition(':')[0])
  if path.is_dir():
    raise _Mistake(f'--config={name} is a folder. Name a file in it.')
  if not path.is_file():
    shipped = pathlib.Path(__file__).parents[1] / 'configs'
    names = sorted(each.name for each in shipped.glob('[a-z]*.py'))
    raise _Mistake(
      f'There is no file {path}. In {shipped} are {", ".join(names)}.'
    )


def _fail(error: Exception | str) -> NoReturn:
  print(f'Error: {error}', file=sys.stderr, flush=True)
  processes.leave(_MISTAKE_CODE, str(error))
