"""How long a run is whose config leaves that open."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Duration:
  """The section `duration` of a config; read where `train_steps` is None.

  Attributes:
    epochs: times that training sees each example, if the steps allow.
    least_steps: of a small data set: it is seen more often.
    most_steps: of a large one: it is seen less often.
    evaluations: of the run, evenly apart, a checkpoint at each.

  Raises:
    ValueError: a value is out of its range.
  """

  epochs: int = 40
  least_steps: int = 600
  most_steps: int = 1200
  evaluations: int = 12

  def __post_init__(self):
    if not 1 <= self.least_steps <= self.most_steps or self.epochs < 1:
      raise ValueError(
        'config.duration needs epochs of at least 1 and 1 <= least_steps <= '
        f'most_steps, got {self.epochs}, {self.least_steps} and '
        f'{self.most_steps}.'
      )
    if self.evaluations < 1:
      raise ValueError(
        'config.duration.evaluations must be at least 1, got '
        f'{self.evaluations}.'
      )

  def plan(self, num_examples: int, batch_size: int) -> dict[str, int]:
    """Returns `train_steps`, and every how many steps what else is done.

    Args:
      num_examples: to train on.
      batch_size: global.
    """
    steps = round(self.epochs * num_examples / batch_size)
    steps = min(max(steps, self.least_steps), self.most_steps)
    every = -(-steps // self.evaluations)
    return {
      'train_steps': steps,
      'eval_every': every,
      'checkpoint_every': every,
      'log_every': -(-every // 2),
    }
