"""Tables of runs by name: what `python -m experiments.sweep` trains.

Values only. A row is a config that we ship and the values of it that differ.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Goal(NamedTuple):
  """What a run is to reach on held-out examples.

  Attributes:
    metric: name of it, such as 'accuracy'.
    least: that it is to be.
    most: that it is to be.
  """

  metric: str
  least: float = -math.inf
  most: float = math.inf

  def is_met(self, metrics: Mapping[str, float]) -> bool:
    """Whether the metric is there and within the bounds."""
    return self.least <= metrics.get(self.metric, math.nan) <= self.most

  def __str__(self) -> str:
    bounds = {'at least': self.least, 'at most': self.most}
    said = [f'{word} {x:g}' for word, x in bounds.items() if math.isfinite(x)]
    return ' '.join([self.metric, *said])


class Row(NamedTuple):
  """One run.

  Attributes:
    name: of the row and of its folder; unique in its table.
    config: file and variant, such as 'digits' or 'tones:mel'.
    overrides: values of the config by path, such as
      {'encoder.num_latents': 64}.
    goals: of the last step's evaluation.
  """

  name: str
  config: str
  overrides: Mapping[str, Any] = {}
  goals: Sequence[Goal] = ()


class Table(NamedTuple):
  """Runs to compare.

  Attributes:
    title: of the section that the table becomes.
    note: what there is to know before reading it.
    rows: in their order.
  """

  title: str
  note: str
  rows: tuple[Row, ...]


# The same for all; a run takes up to two minutes on 2 CPU cores.
_SHORT = {'train_steps': 800, 'eval_every': 800, 'checkpoint_every': 400}
_DIGITS = Table(
  title='Digits, raw and permuted',
  note=(
    'Table 2 of the first paper at the size of digits: every model with each '
    'pixel in its place, and with all pixels in one fixed random order. For '
    'the Perceiver and the Transformer the inputs are a set: only rounding '
    'differs, and grows in training.'
  ),
  rows=tuple(
    Row(name.replace('_', '-'), f'digits:{name}', _SHORT)
    for model in (
      'perceiver',
      'perceiver_learned',
      'resnet',
      'vit',
      'transformer',
    )
    for name in (model, f'{model}_permuted')
  ),
)

_SHORTER = {'train_steps': 300, 'eval_every': 300, 'checkpoint_every': 300}
_CROSS_ATTENDS = 'encoder.cross_attends'
_POSITIONS = 'inputs.image.positions'


def _ablation(name: str, path: str, value: Any) -> Row:
  """A row that changes one value of the Perceiver of 8 cross-attends."""
  return Row(name, 'digits:ablation', {**_SHORTER, path: value})


def _at_start(number: int) -> tuple[int, ...]:
  return (number, *(0,) * 7)


_ABLATION = Table(
  title='Ablations',
  note=(
    'Tables 6 and 7 and figure 6 of the first paper at the size of digits: a '
    'Perceiver of 8 latent blocks on 14 x 14 pixels and a short training. The '
    'first row is the base; every other changes one value of it.'
  ),
  rows=(
    Row('8-interleaved', 'digits:ablation', _SHORTER),
    _ablation('4-interleaved', _CROSS_ATTENDS, (1, 0) * 4),
    _ablation('2-interleaved', _CROSS_ATTENDS, (1, 0, 0, 0) * 2),
    _ablation('1', _CROSS_ATTENDS, _at_start(1)),
    _ablation('2-at-start', _CROSS_ATTENDS, _at_start(2)),
    _ablation('4-at-start', _CROSS_ATTENDS, _at_start(4)),
    _ablation('8-at-start', _CROSS_ATTENDS, _at_start(8)),
    _ablation('own-cross-attends', 'encoder.share_cross_attends', False),
    _ablation('own-latent-blocks', 'encoder.share_latent_blocks', False),
    _ablation('2-bands', f'{_POSITIONS}.num_bands', 2),
    _ablation('4-bands', f'{_POSITIONS}.num_bands', 4),
    _ablation('16-bands', f'{_POSITIONS}.num_bands', 16),
    _ablation('log-spacing', f'{_POSITIONS}.spacing', 'log'),
  ),
)

_EMBEDDED = Table(
  title='Embedded data',
  note=(
    'Every config that trains on data which comes with the package, as it is. '
    'Hyperparameters were chosen on the same held-out examples.'
  ),
  rows=tuple(
    Row(config.replace(':', '-'), config, goals=goals)
    for config, *goals in (
      ('digits',),
      ('tones:raw', Goal('accuracy', least=0.75)),
      ('tones:mel', Goal('accuracy', least=0.92)),
      ('furniture', Goal('accuracy', least=0.6)),
      ('watch', Goal('accuracy', least=0.82)),
      (
        'bunny',
        Goal('image_psnr_gain', least=6.0),
        Goal('audio_psnr_gain', least=6.0),
      ),
      ('flow:embedded', Goal('relative_error', most=0.7)),
      ('declaration:language', Goal('accuracy', least=0.93)),
      # Frequencies of bytes alone: 4.77 bits, and 10.9 % are right.
      (
        'declaration:mlm',
        Goal('bits_per_byte', most=4.3),
        Goal('accuracy', least=0.13),
      ),
    )
  ),
)

TABLES = {'digits': _DIGITS, 'ablation': _ABLATION, 'embedded': _EMBEDDED}
