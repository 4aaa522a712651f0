"""Flags of commands that use a trained run, and the run that they choose."""

import pathlib

from absl import flags

from experiments.host import addresses, command_line
from experiments.host.buckets import BucketPath
from experiments.host.save_to import SAVE_TO
from experiments.runs.trained import TrainedRun, load_run

CHECKPOINT = flags.DEFINE_string(
  'checkpoint', 'best', "'best', 'latest' or the step of a checkpoint."
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


def save_to(
  default: str | pathlib.Path | BucketPath,
) -> pathlib.Path | BucketPath:
  """Returns --save_to, or another place.

  Args:
    default: a path, or a name in the folder of the run.

  Raises:
    ValueError: there can be no such place.
  """
  if SAVE_TO.value:
    return addresses.place(SAVE_TO.value, '--save_to')
  if isinstance(default, str):
    return command_line.workdir() / default
  return default
