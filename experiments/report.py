"""Makes a page of a run: curves, metrics, examples, config, how to repeat it.

  python -m experiments.report --workdir=runs/digits
  python -m experiments.report --compare runs/one runs/two

writes `report.html` into the run's folder, or `comparison.html` beside the
first run: one file that needs no network. Every run writes its report at its
end, of its last evaluation; this command evaluates the best checkpoint. Without
the data, or with --held_out=0, the page tells of no held-out examples.
"""

import pathlib

from absl import flags

from experiments.data.dataset import Dataset
from experiments.host import addresses, command_line, output
from experiments.host.buckets import write_whole
from experiments.host.compilation_cache import start_keeping
from experiments.reporting.comparison import comparison_page
from experiments.reporting.run_page import read_run
from experiments.reporting.writing import (
  REPORT_FILE,
  open_data,
  write_report,
)
from experiments.runs import chosen_run
from experiments.runs.trained import TrainedRun
from experiments.stepping.parallelism import configure_backend

_COMPARE = flags.DEFINE_bool(
  'compare', False, 'Lay the runs that are named side by side.'
)
_HELD_OUT = flags.DEFINE_integer(
  'held_out',
  None,
  'Held-out examples to evaluate, a random choice. Default: all; 0: none, and '
  'no model is loaded.',
  lower_bound=0,
)
_COMPARISON_FILE = 'comparison.html'


def compare(workdirs: tuple[str, ...]) -> pathlib.Path:
  """Writes the comparison of runs; returns its file.

  Raises:
    ValueError: they are fewer than two.
    OSError: there is no such run, or the page cannot be written.
  """
  if len(workdirs) < 2:
    raise ValueError(
      'Name the folders of at least two runs: --compare RUN RUN ...'
    )
  folders = [addresses.place(each, '--compare') for each in workdirs]
  runs = [read_run(folder) for folder in folders]
  path = chosen_run.save_to(folders[0].absolute().parent / _COMPARISON_FILE)
  path.parent.mkdir(parents=True, exist_ok=True)
  write_whole(path, comparison_page(runs))
  return path


def _load() -> tuple[TrainedRun, Dataset]:
  run = chosen_run.load()
  return run, open_data(run, command_line.data_dir())


def main() -> None:
  """Writes the page of --workdir, or of the runs to compare."""
  configure_backend()
  start_keeping()
  if _COMPARE.value:
    path = compare(command_line.files())
  elif command_line.files():
    raise ValueError(
      f'What are {list(command_line.files())}? Name one run by --workdir, or '
      'several after --compare.'
    )
  else:
    path = chosen_run.save_to(REPORT_FILE)
    write_report(
      read_run(command_line.workdir()),
      path,
      None if _HELD_OUT.value == 0 else _load,
      most=_HELD_OUT.value,
    )
  output.print_result({'report': str(path)}, lambda told: told['report'])


if __name__ == '__main__':
  command_line.run(main, takes_files=True)
