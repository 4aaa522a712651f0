"""Tasks by the name that a config gives them."""

import ml_collections

from experiments.host.configuration import check_keys
from experiments.tasks import (
  autoencoding,
  classification,
  entity_encoding,
  glue,
  language,
  optical_flow,
)
from experiments.tasks.open_values import settle
from experiments.tasks.task import Task

# For each: which sections of a config it reads, and how it binds them.
_TASKS = {
  'classification': (classification.sections, classification.make_task),
  'masked_language_modelling': (
    language.masked_language_modelling_sections,
    language.masked_language_modelling,
  ),
  'text_classification': (
    language.text_classification_sections,
    language.text_classification,
  ),
  'glue': (glue.sections, glue.make_task),
  'optical_flow': (optical_flow.sections, optical_flow.make_task),
  'autoencoding': (autoencoding.sections, autoencoding.make_task),
  'entity_encoding': (entity_encoding.sections, entity_encoding.make_task),
}


def make_task(config: ml_collections.ConfigDict, data_dir: str | None) -> Task:
  """Returns the task of a config, after checking the config's keys."""
  name = config.get('task')
  if not isinstance(name, str) or name not in _TASKS:
    raise ValueError(
      f'config.task is {name!r}; choose one of {sorted(_TASKS)}. The keys of '
      f'this config are {sorted(config)}.'
    )
  sections, bind = _TASKS[name]
  check_keys(config, sections(config))
  config, _ = settle(config, data_dir)
  return bind(config, data_dir)
