"""Tasks by the name that a config gives them."""

import ml_collections

from experiments.answers.answer import Answer
from experiments.answers.classes.record import CLASSES, CLASSES_OF_TEXT
from experiments.answers.embeddings.record import EMBEDDINGS
from experiments.answers.filled_text.record import FILLED_TEXT
from experiments.answers.flow.record import FLOW
from experiments.answers.judgements.record import JUDGEMENTS
from experiments.answers.reconstruction.record import RECONSTRUCTION
from experiments.answers.rows.record import ROWS
from experiments.host.configuration import check_keys
from experiments.tasks import (
  autoencoding,
  classification,
  entity_encoding,
  glue,
  language,
  optical_flow,
  table_rows,
)
from experiments.tasks.task import Task, TaskKind

_TASKS = {
  'classification': TaskKind(
    classification.sections, classification.make_task, CLASSES
  ),
  'masked_language_modelling': TaskKind(
    language.masked_language_modelling_sections,
    language.masked_language_modelling,
    FILLED_TEXT,
  ),
  'text_classification': TaskKind(
    language.text_classification_sections,
    language.text_classification,
    CLASSES_OF_TEXT,
  ),
  'glue': TaskKind(glue.sections, glue.make_task, JUDGEMENTS),
  'optical_flow': TaskKind(optical_flow.sections, optical_flow.make_task, FLOW),
  'autoencoding': TaskKind(
    autoencoding.sections, autoencoding.make_task, RECONSTRUCTION
  ),
  'table': TaskKind(table_rows.sections, table_rows.make_task, ROWS),
  'entity_encoding': TaskKind(
    entity_encoding.sections, entity_encoding.make_task, EMBEDDINGS
  ),
}


def register(name: str, kind: TaskKind) -> None:
  """Adds a task of somebody else, before commands are run.

  Args:
    name: what configs call it.
    kind: what it stands for.

  Raises:
    ValueError: the name stands for another task already.
  """
  if _TASKS.setdefault(name, kind) != kind:
    raise ValueError(
      f'There is a task {name!r} already. Choose a name that is none of '
      f'{sorted(_TASKS)}.'
    )


def answer_of(config: ml_collections.ConfigDict) -> Answer | None:
  """Returns the kind of answers of a config's task; None if it is unknown."""
  kind = _TASKS.get(str(config.get('task')))
  return None if kind is None else kind.answer


def make_task(config: ml_collections.ConfigDict, data_dir: str | None) -> Task:
  """Returns the task of a config, after checking the config's keys.

  Args:
    config: of a run; nothing in it is open, see `open_values.settle`.
    data_dir: where TFDS keeps prepared data; None for its own default.

  Raises:
    ValueError: the config is wrong.
  """
  check_config(config)
  return _TASKS[config.task].make_task(config, data_dir)


def check_config(config: ml_collections.ConfigDict) -> None:
  """Checks the top level of a config, and the ranges of all its numbers.

  Raises:
    ValueError: the task, a key or a section is unknown or missing, or a number
      is out of its range.
  """
  name = config.get('task')
  if not isinstance(name, str) or name not in _TASKS:
    raise ValueError(
      f'config.task is {name!r}; choose one of {sorted(_TASKS)}. The keys of '
      f'this config are {sorted(config)}.'
    )
  check_keys(config, _TASKS[name].sections(config))
