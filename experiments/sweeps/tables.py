"""Tables of runs by name: what `python -m experiments.sweep` trains.

Values only. A row is a config that we ship and the values of it that differ.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Row(NamedTuple):
  """One run.

  Attributes:
    name: of the row and of its folder; unique in its table.
    config: file and variant, such as 'digits' or 'tones:mel'.
    overrides: values of the config by path, such as
      {'encoder.num_latents': 64}.
  """

  name: str
  config: str
  overrides: Mapping[str, Any] = {}


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
    Row(config.replace(':', '-'), config)
    for config in (
      'digits',
      'tones:raw',
      'tones:mel',
      'furniture',
      'watch',
      'bunny',
      'flow:embedded',
      'declaration:language',
      'declaration:mlm',
    )
  ),
)

TABLES = {'digits': _DIGITS, 'ablation': _ABLATION, 'embedded': _EMBEDDED}
