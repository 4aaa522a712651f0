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
from experiments.pages.tables import Html
from experiments.reporting.attention import attention_drawings
from experiments.reporting.held_out import judge
from experiments.reporting.run_page import RunFiles, Seen, read_run, run_page
from experiments.runs.experiment import Experiment, restore_run
from experiments.runs.trained import TrainedRun, run_of

REPORT_FILE = 'report.html'
# Of larger data sets, a part.
MOST_EXAMPLES = 2000


class FinalReport:
  """Writes the report at the end of a run, which it can neither fail nor hold.

  Args:
    workdir: of the run.
    seconds: after which no more held-out examples are looked at; 0 for none,
      and the page is made of what the run wrote alone.

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
    *,
    is_finished: bool,
  ) -> None:
    """Writes `report.html`, in the first process only.

    Args:
      config: of the run.
      experiment: of the run.
      is_finished: False for a run that was interrupted: it has no time.
    """
    if not processes.is_first():
      return

    def load() -> tuple[TrainedRun, Dataset]:
      step, train_state = restore_run(
        config, self._workdir, experiment.template, 'best'
      )
      task = experiment.task
      run = run_of(config, self._workdir, step, task, train_state)
      return run, experiment.dataset

    # Reading a checkpoint is for all processes of a run to do together.
    alone = jax.process_count() == 1
    wanted = self._seconds > 0.0 and is_finished and alone
    try:
      write_report(
        read_run(self._workdir),
        self._workdir / REPORT_FILE,
        load if wanted else None,
        most=MOST_EXAMPLES,
        seconds=self._seconds,
      )
    except Exception as error:  # The run is done, whatever this comes to.
      processes.say(f'The report could not be written: {one_line(error)}')


def write_report(
  files: RunFiles,
  path: pathlib.Path,
  load: Callable[[], tuple[TrainedRun, Dataset]] | None,
  *,
  most: int,
  seconds: float = float('inf'),
) -> None:
  """Writes the report of a run.

  Args:
    files: of the run.
    path: of the page; its folder is made if need be.
    load: returns the trained run and its data; None for a page without
      examples. Where it raises a ValueError or an OSError, because there is no
      checkpoint or no data, the page says so in their place.
    most: held-out examples to look at.
    seconds: after which no more are looked at.

  Raises:
    OSError: the page cannot be written.
  """
  seen, attention, why_not = None, Html(''), ''
  if load is not None:
    try:
      run, dataset = load()
    except (ValueError, OSError) as error:
      why_not = f'Not looked at: {error}'
    else:
      end = time.monotonic() + seconds
      judgement = judge(run, dataset, most, seconds=seconds)
      seen = Seen(run, dataset, judgement)
      if time.monotonic() < end:
        attention = attention_drawings(run, dataset, judgement)
  text = run_page(files, seen, attention=attention, why_not=why_not)
  path.parent.mkdir(parents=True, exist_ok=True)
  write_whole(path, text)


def open_data(run: TrainedRun, data_dir: str | None) -> Dataset:
  """Opens the data of a run.

  Raises:
    OSError: it is not there.
  """
  with one_at_a_time(run.config.data.name, data_dir):
    return run.task.data.load()
