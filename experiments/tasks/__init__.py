"""Tasks by the name that a config gives them."""

import ml_collections

from experiments.configuration import check_keys
from experiments.tasks import image_classification
from experiments.tasks.task import Task

_TASKS = {'image_classification': image_classification}


def make_task(config: ml_collections.ConfigDict, data_dir: str | None) -> Task:
  """Returns the task of a config, after checking the config's keys."""
  task = _TASKS.get(config.get('task'))
  if task is None:
    raise ValueError(
      f'config.task is {config.get("task")!r}; choose one of {sorted(_TASKS)}.'
    )
  check_keys(config, task.SECTIONS)
  return task.make_task(config, data_dir)
