"""Writes the report of a run, at its end or later."""

import pathlib
import time
from collections.abc import Callable

import jax
import ml_collections

from experiments.data.dataset import Dataset
from experiments.data.one_at_a_time import one_at_a_time
from experiments.host import processes
from experiments.host.buckets import write_whole
from experiments.host.error_text import one_line
from experiments.reporting.attention import attention_drawings
from experiments.reporting.held_out import gallery, look_at
from experiments.reporting.run_page import RunFiles, Seen, read_run, run_page
from experiments.runs.evaluation import Evaluation, Look
from experiments.runs.experiment import Experiment
from experiments.runs.trained import TrainedRun

REPORT_FILE = 'report.html'


class FinalReport:
  """Writes the report at the end of a run, which it can neither fail nor hold.

  Args:
    workdir: of the run.
    seconds: after which attention is not drawn any more; 0 shows no examples.
      What is counted over all held-out examples comes from the last evaluation,
      and takes no time.

  Raises:
    ValueError: seconds are negative.
  """

  def __init__(self, workdir: pathlib.Path, *, seconds: float):
    if seconds < 0.0:
      raise ValueError(
        f'config.report.seconds must not be negative, got {seconds}. 0 leaves '
        'the examples out.'
      )
    self._workdir, self._seconds = workdir, seconds

  def write(
    self,
    config: ml_collections.ConfigDict,
    experiment: Experiment,
    evaluate: Evaluation,
    look: Look | None,
  ) -> None:
    """Writes `report.html`, in the first process; all of a run call this.

    Args:
      config: of the run.
      experiment: of the run.
      evaluate: that the look is by.
      look: at the last step; None for a run that was interrupted.
    """
    seen, why_not = None, ''
    try:
      if look is not None:
        seen = Seen(experiment.task, look)
        if self._seconds > 0.0:
          seen, why_not = self._with_examples(
            config, experiment, evaluate, seen
          )
      if processes.is_first():
        page = run_page(read_run(self._workdir), seen, why_not)
        write_whole(self._workdir / REPORT_FILE, page)
    except Exception as error:  # The run is done, whatever this comes to.
      processes.say(f'The report could not be written: {one_line(error)}')

  def _with_examples(
    self,
    config: ml_collections.ConfigDict,
    experiment: Experiment,
    evaluate: Evaluation,
    seen: Seen,
  ) -> tuple[Seen, str]:
    end = time.monotonic() + self._seconds
    task, look = seen.task, seen.look
    try:
      examples = gallery(evaluate, look, task, experiment.dataset)
    except OSError as error:
      return seen, one_line(error)
    # What the processes have of a model is for all of them to compute with.
    if jax.process_count() > 1 or time.monotonic() > end:
      return seen._replace(examples=examples), ''
    params, state = experiment.parallelism.fetch_state(
      (look.params, look.state)
    )
    run = TrainedRun(config, self._workdir, look.step, task, params, state)
    attention = attention_drawings(run, examples)
    return seen._replace(examples=examples, attention=attention), ''


def write_report(
  files: RunFiles,
  path: pathlib.Path,
  load: Callable[[], tuple[TrainedRun, Dataset]] | None,
  most: int | None = None,
) -> None:
  """Writes the report of a run that is over.

  Args:
    files: of the run.
    path: of the page; its folder is made if need be.
    load: returns the trained run and its data; None for a page without
      examples. Where it raises a ValueError or an OSError, because there is no
      checkpoint or no data, the page says so in their place.
    most: see `look_at`.

  Raises:
    OSError: the page cannot be written.
  """
  seen, why_not = None, ''
  if load is not None:
    try:
      seen = _see(*load(), most)
    except (ValueError, OSError) as error:
      why_not = f'Not looked at: {error}'
  path.parent.mkdir(parents=True, exist_ok=True)
  write_whole(path, run_page(files, seen, why_not))


def open_data(run: TrainedRun, data_dir: str | None) -> Dataset:
  """Opens the data of a run.

  Raises:
    OSError: it is not there.
  """
  with one_at_a_time(run.config.data.name, data_dir):
    return run.task.data.load()


def _see(run: TrainedRun, dataset: Dataset, most: int | None) -> Seen:
  evaluate, look = look_at(run, dataset, most)
  examples = gallery(evaluate, look, run.task, dataset)
  return Seen(run.task, look, examples, attention_drawings(run, examples))
