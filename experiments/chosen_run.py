"""Flags of commands that use a trained run, and the run that they choose."""

import pathlib

from absl import flags

from experiments import addresses, command_line
from experiments.trained import TrainedRun, load_run

CHECKPOINT = flags.DEFINE_string(
  'checkpoint', 'best', "'best', 'latest' or the step of a checkpoint."
)
_SAVE_TO = flags.DEFINE_string(
  'save_to',
  None,
  'Where to write to. Default: a place of its own in --workdir.',
)


def load() -> TrainedRun:
  """Returns the run of --workdir, or of --config.

  Raises:
    ValueError: there is no run, or no such checkpoint.
    OSError: it cannot be read.
  """
  save_to('')  # What it refuses, it refuses before anything is read.
  return load_run(
    command_line.workdir(),
    config=command_line.config(),
    checkpoint=CHECKPOINT.value,
    data_dir=command_line.data_dir(),
  )


def save_to(default: str) -> pathlib.Path:
  """Returns --save_to, or a place in the folder of the run.

  Args:
    default: file or folder, from the folder of the run.
  """
  return addresses.local(
    _SAVE_TO.value or command_line.workdir() / default, '--save_to'
  )
