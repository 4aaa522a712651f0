"""A copy of a run's metrics at Weights & Biases, wandb.ai."""

import pathlib
import re
import secrets
import tempfile
from collections.abc import Mapping
from typing import Any

from experiments.host.buckets import BucketPath, is_in_bucket, write_whole
from experiments.host.progress import say

_RUN_ID = re.compile(b'[0-9a-f]{8}')
_MODES = ('online', 'offline')

# The service must not hold up the start or the end of a run for longer. What
# it did not send is in <workdir>/wandb, for `wandb sync`.
_SECONDS = 60.0


class WeightsAndBiases:
  """Sends metrics to a W&B run, or does nothing where no project is named.

  Training goes on whatever becomes of the service. A run that resumes continues
  its W&B run, whose id is in `<workdir>/wandb_id`.
  """

  def __init__(
    self,
    *,
    project: str = '',
    run_name: str = '',
    mode: str = 'online',
    active: bool = True,
  ):
    """Checks what can be checked before anything is sent.

    Args:
      project: of W&B; '' for none, and nothing is sent.
      run_name: of the run there; '' for that of the workdir.
      mode: 'online', or 'offline' to write files for `wandb sync` only.
      active: False sends nothing, for all processes but one.

    Raises:
      ValueError: a value is wrong, or the package is not installed.
    """
    if mode not in _MODES:
      raise ValueError(
        f'wandb.mode = {mode!r} is not one of {", ".join(_MODES)}.'
      )
    if project:
      _import()
    self._project, self._run_name, self._mode = project, run_name, mode
    self._active = active and bool(project)
    self._run = None

  def start(self, config: Mapping[str, Any], workdir: pathlib.Path) -> None:
    """Begins the W&B run, or continues that of the workdir.

    Args:
      config: of the run, plain values.
      workdir: of the run.

    Raises:
      ValueError: the user is not logged in, or a name is not to its liking, or
        what is written for later would not stay.
    """
    if not self._active:
      return
    if self._mode == 'offline' and is_in_bucket(workdir):
      raise ValueError(
        'config.wandb.mode=offline writes files for `wandb sync`, which must '
        f'lie on a disk of this machine, and the workdir is {workdir}. Choose '
        'a folder for --workdir, or --config.wandb.mode=online.'
      )
    wandb = _import()
    try:
      self._run = wandb.init(
        project=self._project,
        name=self._run_name or workdir.absolute().name,
        id=_run_id(workdir),
        resume='allow',
        mode=self._mode,
        dir=_folder(workdir),
        config=dict(config),
        allow_val_change=True,
        settings={
          'console': 'off',  # Ours has a progress bar.
          'init_timeout': _SECONDS,
          'finish_timeout': _SECONDS,
        },
      )
    except (wandb.errors.UsageError, wandb.errors.AuthenticationError) as error:
      raise ValueError(
        f'Weights & Biases: {error} Run `wandb login` or set WANDB_API_KEY; '
        '--config.wandb.mode=offline needs no account, --config.wandb.project='
        ' (nothing) does without.'
      ) from error
    except Exception as error:  # Whatever a service on a network may raise.
      self._give_up(error)

  def write(self, step: int, metrics: Mapping[str, float]) -> None:
    """Sends the metrics of a step.

    The steps between the checkpoint that a run resumed from and its end before
    are there already, and W&B ignores them.
    """
    if self._run is None:
      return
    try:
      self._run.log(dict(metrics), step=step)
    except Exception as error:
      self._give_up(error)

  def close(self) -> None:
    """Ends the W&B run; waits a while for what is not sent yet."""
    if self._run is None:
      return
    try:
      self._run.finish()
    except Exception as error:
      self._give_up(error)
    self._run = None

  def _give_up(self, error: Exception) -> None:
    self._run = None
    say(
      'Weights & Biases failed, training goes on without it: '
      f'{type(error).__name__}: {" ".join(str(error).split())[:200]}'
    )


def _import() -> Any:
  """The package, which is optional and slow to import."""
  try:
    import wandb
  except ImportError as error:
    raise ValueError(
      'config.wandb.project needs the package wandb: pip install '
      "'perceiver-haiku[wandb]' or pip install wandb."
    ) from error
  return wandb


def _folder(workdir: pathlib.Path | BucketPath) -> str | pathlib.Path:
  """Where W&B keeps what is not sent yet."""
  return tempfile.mkdtemp() if is_in_bucket(workdir) else workdir


def _run_id(workdir: pathlib.Path) -> str:
  path = workdir / 'wandb_id'
  known = path.read_bytes().strip() if path.exists() else b''
  if not _RUN_ID.fullmatch(known):  # Or it is damaged: a run begins anew there.
    known = secrets.token_hex(4).encode()
    write_whole(path, known + b'\n')
  return known.decode()
