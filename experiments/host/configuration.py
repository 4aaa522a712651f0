"""Checks of configs before anything is computed.

A section of a config is exactly the keyword arguments of one constructor; an
error says which key is wrong, what is allowed, and suggests the nearest.
"""

import copy
import difflib
import inspect
import json
import pathlib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import ml_collections

from experiments.host.buckets import write_whole
from experiments.host.ranges import check_ranges

T = TypeVar('T')


class ConfigError(ValueError):
  """A key or a type is wrong, whatever the data are."""


# In the workdir of every run.
CONFIG_FILE = 'config.json'

# The top-level keys of every config that the runner itself reads.
RUN_KEYS = {
  'task': str,
  'seed': int,
  'batch_size': int,
  'train_steps': int,
  'log_every': int,
  'eval_every': int,
  'checkpoint_every': int,
  'data_workers': int,
}
# Those that a config may leave open, None, see `duration.py`.
OPEN_KEYS = ('train_steps', 'log_every', 'eval_every', 'checkpoint_every')
_RUN_SECTIONS = ('optimizer', 'schedule', 'checkpoints')
_OPTIONAL_SECTIONS = ('finetuning',)

# What a run can be told besides; a config that does not say it means this.
#   parallelism: how steps run on many devices, see `parallelism.py`.
#   microbatches: parts of a device's batch, computed one after the other.
#   compute_dtype: of encoders and decoders, 'float32' or 'bfloat16'.
#   ema_decay: of an average of the parameters that is evaluated beside them;
#     0 keeps none.
#   learning_rates: of some parameters, see `learning_rates.py`.
#   spikes: steps that are left out, see `stepping/spikes.py`.
#   early_stop: when a run ends before its last step, see `early_stop.py`.
#   duration: how long it is where `train_steps` is open, see `duration.py`.
#   statistics: of gradients and activations by module, see
#     `watching/statistics.py`.
#   numbers: steps whose numbers are not finite, see `health.py`.
#   data_faults: examples that cannot be read, see `data/faults.py`.
#   debug: whether a step that is not finite is run again to say why.
#   profile: first and last step of a trace, see `watching/profiling.py`.
#   wandb: see `watching/weights_and_biases.py`.
#   report: how long its end may look at examples, see `reporting/writing.py`.
RUN_DEFAULTS = {
  'parallelism': {'name': 'pmap'},
  'microbatches': 1,
  'compute_dtype': 'float32',
  'ema_decay': 0.0,
  'learning_rates': {'multipliers': (), 'layer_decay': 1.0},
  'spikes': {'factor': 0.0, 'window': 100},
  'early_stop': {'patience': 0, 'metric': 'eval/loss', 'mode': 'min'},
  'duration': {},
  'statistics': {'every': 0, 'depth': 2},
  'numbers': {'bad_steps': 0},
  'data_faults': {'bad_examples': 0, 'stall_seconds': 60.0},
  'debug': {'nans': False},
  'profile': {'steps': ()},
  'wandb': {'project': '', 'run_name': '', 'mode': 'online'},
  'report': {'seconds': 5.0},
}


class DamagedConfigError(ValueError):
  """The config of a run is there, and is no JSON; it can be made anew."""


def fill_defaults(
  config: ml_collections.ConfigDict,
) -> ml_collections.ConfigDict:
  """Returns a copy that has all of `RUN_DEFAULTS`.

  What the config leaves open keeps its type, so that flags can set it.
  """
  filled = copy.deepcopy(config)
  with filled.unlocked():
    for key, default in RUN_DEFAULTS.items():
      if key not in filled:
        filled[key] = default
  return filled


def write_config(
  config: ml_collections.ConfigDict, workdir: pathlib.Path
) -> None:
  """Writes the config of a run into its workdir."""
  write_whole(workdir / CONFIG_FILE, config.to_json(indent=2) + '\n')


def read_config(workdir: pathlib.Path) -> ml_collections.ConfigDict:
  """Returns the config of the run in a workdir.

  Raises:
    FileNotFoundError: there is no run.
    DamagedConfigError: the file is empty, cut, or no text.
    ValueError: it holds something else.
  """
  path = workdir / CONFIG_FILE
  if not path.is_file():
    raise FileNotFoundError(
      f'There is no run in {workdir}, it has no {CONFIG_FILE}.'
    )
  try:
    values = json.loads(path.read_bytes())
  except (ValueError, RecursionError) as error:
    raise DamagedConfigError(
      f'{path} is damaged ({error}). Name the experiment by --config, and '
      'train makes it anew: the checkpoints stay.'
    ) from error
  try:
    _check_values(values)
  except ValueError as error:
    raise ValueError(
      f'{path} is no config of a run ({error}). Remove it, and name the '
      'experiment by --config: the checkpoints stay.'
    ) from error
  return fill_defaults(ml_collections.ConfigDict(values))


def _check_values(values: Any) -> None:
  """Raises a ValueError unless values have what every run needs."""
  if not isinstance(values, dict):
    raise ValueError(f'it holds a {type(values).__name__}, not sections')
  missing = sorted({*RUN_KEYS, *_RUN_SECTIONS} - set(values))
  if missing:
    raise ValueError(f'it lacks {", ".join(missing)}')
  for key, kind in RUN_KEYS.items():
    _check_type(f'config.{key}', values[key], kind)
  for key in _RUN_SECTIONS:
    if not isinstance(values[key], dict):
      raise ValueError(f'config.{key} is {values[key]!r}, not a section')


def take_open_values(
  config: ml_collections.ConfigDict, run: ml_collections.ConfigDict
) -> None:
  """Sets what a config leaves open, None, to the values of a run.

  Args:
    config: to fill; where the run has nothing of that name, it stays, and so it
      does where the run is of other data.
    run: config of the run.
  """
  names = [each.get('data', {}).get('name') for each in (config, run)]
  if names[0] == names[1]:
    _take(config, run)


def _take(
  config: ml_collections.ConfigDict, run: ml_collections.ConfigDict
) -> None:
  for key, value in run.items():
    if key in config and config[key] is None:
      config[key] = tuple(value) if isinstance(value, list) else value
    elif isinstance(config.get(key), ml_collections.ConfigDict) and isinstance(
      value, ml_collections.ConfigDict
    ):
      _take(config[key], value)


def check_keys(
  config: ml_collections.ConfigDict, task_sections: Sequence[str]
) -> None:
  """Raises a ValueError unless the top level has just the keys that are read.

  All numbers of the config are in their ranges then, see `ranges.py`.

  Args:
    config: of a run.
    task_sections: the sections that its task reads.
  """
  expected = {*RUN_KEYS, *_RUN_SECTIONS, *task_sections}
  known = {*expected, *_OPTIONAL_SECTIONS, *RUN_DEFAULTS}
  for key in config:
    if key not in known:
      raise ValueError(
        f'Unknown config key {key!r}{suggestion(key, known)} Known at the '
        f'top level: {sorted(known)}.'
      )
  missing = sorted(expected - set(config))
  if missing:
    raise ValueError(f'The config lacks {missing}.')
  for key, kind in RUN_KEYS.items():
    if config[key] is None and key in OPEN_KEYS and config.get('duration'):
      continue
    _check_type(f'config.{key}', config[key], kind)
  optional = [key for key in _OPTIONAL_SECTIONS if key in config]
  for key, default in RUN_DEFAULTS.items():
    if isinstance(default, dict):
      optional += [key] if key in config else []
    elif key in config:
      _check_type(f'config.{key}', config[key], type(default))
  for key in (*_RUN_SECTIONS, *task_sections, *optional):
    if not isinstance(config[key], Mapping | ml_collections.ConfigDict):
      raise ValueError(
        f'config.{key} must be a section such as dict(name=...), got '
        f'{config[key]!r}.'
      )
  for key in optional:
    _check_options(key, config[key])
  check_ranges(config)


def _check_options(section: str, options: Mapping[str, Any]) -> None:
  """Checks a section of `RUN_DEFAULTS` that has no alternatives."""
  defaults = RUN_DEFAULTS.get(section, {})
  if not defaults or 'name' in defaults:
    return
  for key in options:
    if key not in defaults:
      raise ConfigError(_unknown(f'{section}.{key}', key, defaults))
    kind = type(defaults[key])
    _check_type(
      f'config.{section}.{key}',
      options[key],
      Sequence[Any] if kind is tuple else kind,
    )


def construct(
  section: str,
  constructor: Callable[..., T],
  arguments: Mapping[str, Any],
  *positional: Any,
  given: Mapping[str, Any] | None = None,
) -> T:
  """Calls a constructor with a section of the config, checked.

  Args:
    section: its name in the config, for messages.
    constructor: takes the section as keyword arguments.
    arguments: the section.
    *positional: what the constructor takes besides.
    given: keyword arguments that are not the config's to set.

  Returns:
    What the constructor returns.

  Raises:
    ConfigError: a key is unknown or missing, or a value of the wrong type.
  """
  check_arguments(section, constructor, arguments, given or {})
  return constructor(*positional, **arguments, **(given or {}))


def check_arguments(
  section: str,
  constructor: Callable[..., Any],
  arguments: Mapping[str, Any],
  given: Mapping[str, Any] = types.MappingProxyType({}),
) -> None:
  """Checks a section of the config, without calling its constructor.

  Args:
    section: its name in the config, for messages.
    constructor: takes the section as keyword arguments.
    arguments: the section.
    given: keyword arguments that are not the config's to set.

  Raises:
    ConfigError: a key is unknown or missing, or a value of the wrong type.
  """
  parameters = {
    name: parameter
    for name, parameter in inspect.signature(constructor).parameters.items()
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    and name not in ('name', *given)
  }
  hints = typing.get_type_hints(
    constructor.__init__ if inspect.isclass(constructor) else constructor
  )
  for key, value in arguments.items():
    if key not in parameters:
      raise ConfigError(_unknown(f'{section}.{key}', key, parameters))
    _check_type(f'config.{section}.{key}', value, hints[key])
  missing = [
    name
    for name, parameter in parameters.items()
    if parameter.default is parameter.empty and name not in arguments
  ]
  if missing:
    raise ConfigError(f'config.{section} lacks {missing}.')


def choose(
  section: str,
  constructors: Mapping[str, Callable[..., T]],
  arguments: Mapping[str, Any],
  *positional: Any,
  given: Mapping[str, Any] | None = None,
) -> T:
  """Like `construct`, with the constructor that the section's `name` says."""
  arguments = dict(arguments)
  name = arguments.pop('name', None)
  if not isinstance(name, str) or name not in constructors:
    raise ConfigError(
      f'config.{section}.name is {name!r}'
      f'{suggestion(str(name), constructors)} Choose one of '
      f'{sorted(constructors)}.'
    )
  return construct(
    section, constructors[name], arguments, *positional, given=given
  )


def _unknown(path: str, key: str, known: typing.Iterable[str]) -> str:
  return (
    f'Unknown config key {path}{suggestion(key, known)} Known there: '
    f'{sorted(known)}.'
  )


def suggestion(key: str, known: typing.Iterable[str]) -> str:
  """Returns '; did you mean ...?' with the nearest known key, or '.'."""
  close = difflib.get_close_matches(key, list(known), n=1)
  return f'; did you mean {close[0]!r}?' if close else '.'


def _check_type(path: str, value: Any, hint: Any) -> None:
  if not _matches(value, hint):
    expected = hint.__name__ if inspect.isclass(hint) else str(hint)
    raise ConfigError(
      f'{path} must be {expected.replace("collections.abc.", "")}, got '
      f'{value!r} of type {type(value).__name__}.'
    )


def _matches(value: Any, hint: Any) -> bool:
  """Whether a value is of a plain type; unknown annotations admit anything."""
  if typing.get_origin(hint) in (types.UnionType, typing.Union):
    return any(_matches(value, option) for option in typing.get_args(hint))
  if typing.get_origin(hint) is Sequence:
    (item,) = typing.get_args(hint)
    return isinstance(value, tuple | list) and all(
      _matches(element, item) for element in value
    )
  if hint is None or hint is types.NoneType:
    return value is None
  if hint is float:
    return isinstance(value, int | float) and not isinstance(value, bool)
  if hint is int:
    return isinstance(value, int) and not isinstance(value, bool)
  return hint not in (str, bool) or isinstance(value, hint)
