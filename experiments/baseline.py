"""--baseline: how good a cheap classical model is, beside a run."""

from absl import flags

from experiments.data.classical import check_installed
from experiments.host import processes
from experiments.measuring.classical import classify
from experiments.runs.experiment import Experiment

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
  """Returns `classical/accuracy`, and prints it.

  Args:
    experiment: whose examples have one class each.

  Raises:
    ValueError: no classical model is known of such examples.
  """
  found = classify(experiment.dataset, experiment.task.data.view)
  processes.say(
    f'A cheap classical model, {found.name}: accuracy {found.accuracy:.4f}.'
  )
  return {'classical/accuracy': found.accuracy}
