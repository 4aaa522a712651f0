"""--baseline: how good a cheap classical model is, beside a run."""

from absl import flags

from experiments.data.classical import check_installed
from experiments.data.dataset import Dataset
from experiments.host import processes
from experiments.measuring.classical import classify
from experiments.measuring.classical_rows import rivals_of_rows
from experiments.runs.experiment import Experiment
from experiments.tasks.table.columns import Columns

_BASELINE = flags.DEFINE_bool(
  'baseline',
  False,
  'Also train a cheap classical model of scikit-learn on the same split, and '
  'say how good that is.',
)


def is_wanted() -> bool:
  """Returns --baseline.

  Raises:
    ValueError: it cannot be had.
  """
  if _BASELINE.value:
    check_installed()
  return _BASELINE.value


def metrics_of(experiment: Experiment) -> dict[str, float]:
  """Returns `classical/accuracy`, or of a table `classical/KEY/...`; prints it.

  Args:
    experiment: whose examples have one class each, or are rows of a table.

  Raises:
    ValueError: no classical model is known of such examples.
  """
  task = experiment.task
  if task.columns is not None:
    return _metrics_of_rows(experiment.dataset, task.columns)
  found = classify(experiment.dataset, task.data.view)
  processes.say(
    f'A cheap classical model, {found.name}: accuracy {found.accuracy:.4f}.'
  )
  return {'classical/accuracy': found.accuracy}


def _metrics_of_rows(dataset: Dataset, columns: Columns) -> dict[str, float]:
  rivals = rivals_of_rows(
    dataset,
    {each.key: each.files for each in columns.inputs},
    {each.key: each.head for each in columns.answers},
  )
  metrics = {}
  for column in columns.answers:
    if column.key not in rivals:
      continue
    name, reached = rivals[column.key]
    told = ', '.join(f'{x} {value:.4f}' for x, value in reached.items())
    processes.say(f'{column.name} by a cheap classical model, {name}: {told}.')
    metrics |= {f'classical/{column.key}/{x}': v for x, v in reached.items()}
  return metrics
