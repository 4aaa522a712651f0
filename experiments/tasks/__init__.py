"""Tasks by the name that a config gives them."""

import ml_collections

from experiments.configuration import check_keys
from experiments.tasks import image_classification
from experiments.tasks.task import Task

_TASKS = {'image_classification': image_classification}


def make_task(config: ml_collections.ConfigDict, data_dir: str | None) -> Task:
  """Returns the task of a config, after checking the config's keys."""
  name = config.get('task')
  if not isinstance(name, str) or name not in _TASKS:
    raise ValueError(
      f'config.task is {name!r}; choose one of {sorted(_TASKS)}. The keys of '
      f'this config are {sorted(config)}.'
    )
  task = _TASKS[name]
  check_keys(config, task.SECTIONS)
  return task.make_task(config, data_dir)
