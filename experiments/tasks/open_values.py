"""Values that a config leaves open, None, chosen from the data of a run.

A config of one's own files cannot know their shapes. They are chosen once, when
a run begins, and stand in its config.json as if they had been written there:
what comes later sees the same numbers, whatever becomes of the files.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import ml_collections

from experiments.host.configuration import choose
from experiments.modalities import senses

# Elsewhere None is a value like others.
_SECTIONS = ('data', 'inputs', 'embedding', 'labels')


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
  data = config.get('data')
  if not isinstance(data, ml_collections.ConfigDict):
    return config, ''
  paths = list(_open_paths(config))
  # Data whose shapes are not known before it is seen.
  folders = senses.folders()
  if data.get('name') not in folders or not paths:
    return config, ''
  spec = choose('data', folders, data, data_dir)
  settled = config.copy_and_resolve_references()
  for path in paths:
    if path not in spec.chosen:
      raise ValueError(
        f'config.{path} is not set, and the data does not say it: set '
        f'--config.{path}.'
      )
    settled.update_from_flattened_dict({path: spec.chosen[path]})
  return settled, spec.note


def _open_paths(config: ml_collections.ConfigDict) -> Iterator[str]:
  for section in _SECTIONS:
    if section in config:
      yield from _open_below(config[section], section)


def _open_below(value: Any, path: str) -> Iterator[str]:
  if value is None:
    yield path
  elif isinstance(value, Mapping | ml_collections.ConfigDict):
    for key in value:
      yield from _open_below(value[key], f'{path}.{key}')
