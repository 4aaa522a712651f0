"""What a run shows on the terminal while it trains."""

import sys
from collections.abc import Mapping

import tqdm


class Progress:
  """A progress bar on a terminal, plain lines elsewhere."""

  def __init__(self, step: int, train_steps: int, *, active: bool):
    """Starts at a step.

    Args:
      step: done before.
      train_steps: to do in all.
      active: False shows nothing, for all processes but one.
    """
    self._active = active
    self._interactive = active and sys.stdout.isatty()
    self._train_steps = train_steps
    self._bar = tqdm.tqdm(
      initial=step,
      total=train_steps,
      unit='step',
      dynamic_ncols=True,
      file=sys.stdout,
      disable=not self._interactive,
    )

  def advance(self) -> None:
    """Counts one step."""
    self._bar.update()

  def report(self, step: int, metrics: Mapping[str, float]) -> None:
    """Shows the latest training metrics."""
    shown = (
      f'loss {metrics["train/loss"]:.4f}, '
      f'{metrics["train/examples_per_second"]:.0f} examples/s{_rate(metrics)}'
    )
    if self._interactive:
      self._bar.set_postfix_str(shown)
      return
    seconds_left = (self._train_steps - step) * metrics[
      'train/seconds_per_step'
    ]
    left = tqdm.tqdm.format_interval(seconds_left)
    self.say(f'step {step}/{self._train_steps}: {shown}, {left} left')

  def say(self, text: str) -> None:
    """Prints a line without breaking the bar."""
    if self._active:
      say(text)

  def close(self) -> None:
    """Leaves the bar as it is."""
    self._bar.close()


def _rate(metrics: Mapping[str, float]) -> str:
  """Operations a second and their share of the peak, where they are known."""
  rate = metrics.get('train/teraflops_per_device')
  if rate is None:
    return ''
  share = metrics.get('train/share_of_peak')
  peak = 'peak unknown' if share is None else f'{share:.1%} of peak'
  return f', {rate:.3g} TFLOP/s a device ({peak})'


def say(text: str) -> None:
  """Prints a line without breaking a bar, where there is one."""
  tqdm.tqdm.write(text, file=sys.stdout)
  sys.stdout.flush()


def warn(text: str) -> None:
  """The same, where the results of a command do not go."""
  tqdm.tqdm.write(text, file=sys.stderr)
  sys.stderr.flush()
