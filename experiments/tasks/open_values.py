"""Values that a config leaves open, None, chosen from the data of a run.

A config of one's own files cannot know their shapes. They are chosen once, when
a run begins, and stand in its config.json as if they had been written there:
what comes later sees the same numbers, whatever becomes of the files.
"""

import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import ml_collections

from experiments.data.dataset import DataSpec
from experiments.host.configuration import OPEN_KEYS, choose, construct
from experiments.modalities import senses
from experiments.stepping.duration import Duration
from experiments.tasks.table.columns import TYPICAL
from experiments.tasks.table.data import table

# Elsewhere None is a value like others.
_SECTIONS = ('data', 'inputs', 'embedding', 'labels')
# What is open there is chosen for each column of a table by itself.
_FOR_COLUMNS = 'data.senses'
# Of data like many. A config is checked with them before files are looked at;
# where one number is asked for, it is the first.
_TYPICAL = {
  'center': 0.0,
  'channels': ('x', 'y', 'z'),
  'classes': ('one', 'two'),
  'columns': TYPICAL,
  'frame_rate': 8.0,
  'gap': 1.0,
  'image_size': 32,
  'inputs': 'x:number',
  'length': 128,
  'mean': (0.5, 0.5, 0.5),
  'num_channels': 3,
  'num_events': 128,
  'num_points': 256,
  'num_samples': 16_384,
  'num_steps': 256,
  'sample_rate': 8_000,
  'sizes': (0.0, 1.0),
  'span': 60.0,
  'stddev': (0.25, 0.25, 0.25),
}
_TYPICAL_FILES = 1_000


def settle(
  config: ml_collections.ConfigDict, data_dir: str | None
) -> tuple[ml_collections.ConfigDict, str]:
  """Fills in what a config leaves open.

  Args:
    config: of a run; it is not changed.
    data_dir: where TFDS keeps prepared data; None for its own default.

  Returns:
    The config, the same one if nothing is open, and what was chosen, in words.

  Raises:
    ValueError: the data cannot be read, or does not say what is open.
    FileNotFoundError: the data is not there.
  """
  paths = _open_paths(config)
  if not paths:
    return config, ''
  spec = choose('data', _peoples_own(), config.data, data_dir)
  return _filled(config, paths, spec), spec.note


def _peoples_own() -> Mapping[str, Callable[..., DataSpec]]:
  """Data sets of people's own files: these can be asked what suits them."""
  return {**senses.folders(), 'table': table}


class StandIn(NamedTuple):
  """A config that has values of data like many where it left them open.

  Attributes:
    config: nothing in it is open.
    fits: whether its shapes go together: the config says none of those that
      follow from the data.
  """

  config: ml_collections.ConfigDict
  fits: bool


def stand_in(config: ml_collections.ConfigDict) -> StandIn | None:
  """Returns what a config is checked with before its data is looked at.

  Args:
    config: of a run; it is not changed.

  Returns:
    None where nothing is open, or what is typical is not known.

  Raises:
    ConfigError: a key or a type of the data is wrong.
  """
  paths = _open_paths(config)
  data = dict(config.data) if paths else {}
  missing = [key for key in data if data[key] is None]
  if not paths or not set(missing) <= set(_TYPICAL):
    return None
  folders = _peoples_own()
  hints = typing.get_type_hints(folders[data['name']])
  for key in missing:
    one = isinstance(_TYPICAL[key], tuple) and hints.get(key) == float | None
    data[key] = _TYPICAL[key][0] if one else _TYPICAL[key]
  spec = choose('data', folders, data, None)
  return StandIn(
    _filled(config, paths, spec._replace(num_train=_TYPICAL_FILES)),
    fits=all(
      path in paths or path.startswith('data.') or not _has(config, path)
      for path in spec.chosen
    ),
  )


def _filled(
  config: ml_collections.ConfigDict, paths: Sequence[str], spec: DataSpec
) -> ml_collections.ConfigDict:
  """Returns a copy that has what was chosen for each of the paths."""
  filled = config.copy_and_resolve_references()
  chosen = dict(spec.chosen)
  if spec.num_train is not None:
    duration = construct('duration', Duration, config.duration)
    chosen |= duration.plan(spec.num_train, config.batch_size)
  for path in paths:
    if path not in chosen:
      raise ValueError(
        f'config.{path} is not set, and the data does not say it: set '
        f'--config.{path}.'
      )
    filled.update_from_flattened_dict({path: chosen[path]})
  return filled


def _open_paths(config: ml_collections.ConfigDict) -> list[str]:
  """Returns what is open, where the data is of a kind that can say it."""
  data = config.get('data')
  if not isinstance(data, ml_collections.ConfigDict):
    return []
  if not isinstance(data.get('name'), str) or data.name not in _peoples_own():
    return []
  return [
    *(key for key in OPEN_KEYS if config.get(key, 0) is None),
    *(
      path
      for section in _SECTIONS
      if section in config
      for path in _open_below(config[section], section)
    ),
  ]


def _has(config: ml_collections.ConfigDict, path: str) -> bool:
  """Whether there is such a key; folders choose values for several parts."""
  section, _, key = path.rpartition('.')
  for name in filter(None, section.split('.')):
    config = config.get(name)
    if not isinstance(config, ml_collections.ConfigDict):
      return False
  return key in config


def _open_below(value: Any, path: str) -> Iterator[str]:
  if path == _FOR_COLUMNS:
    return
  if value is None:
    yield path
  elif isinstance(value, Mapping | ml_collections.ConfigDict):
    for key in value:
      yield from _open_below(value[key], f'{path}.{key}')
