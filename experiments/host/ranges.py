"""The ranges of the numbers that configs hold, in one place, by their names.

A constructor checks what depends on its other arguments, such as that heads
divide channels. What no argument of that name may be is refused here, before
any constructor is called.
"""

import fnmatch
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import ml_collections

# Steps and sizes are int32 on devices.
_MOST = 2**31 - 1
_INFINITY = math.inf


class Range(NamedTuple):
  """An interval.

  Attributes:
    lowest: least number that is in it.
    highest: greatest number that is in it.
    above: whether `lowest` itself is out.
    below: whether `highest` itself is out.
  """

  lowest: float
  highest: float
  above: bool = False
  below: bool = False

  def __contains__(self, number: float) -> bool:
    """Whether a number is in it; NaN is in none."""
    return (
      self.lowest <= number <= self.highest
      and not (self.above and number == self.lowest)
      and not (self.below and number == self.highest)
    )

  def expected(self, number: float) -> str:
    """Says what a number that is not in it must be."""
    if self.highest not in (_MOST, _INFINITY):
      left, right = '[('[self.above], '])'[self.below]
      return f'in {left}{self.lowest}, {self.highest}{right}'
    if number >= self.highest:
      return 'finite' if self.below else f'at most {self.highest}'
    if self.lowest == -_INFINITY or math.isnan(number):
      return 'finite'
    return f'{"above" if self.above else "at least"} {self.lowest}'


_COUNT = Range(1, _MOST)
_WHOLE = Range(0, _MOST)
_POSITIVE = Range(0, _INFINITY, above=True, below=True)
_NOT_NEGATIVE = Range(0, _INFINITY, below=True)
_SHARE = Range(0, 1)
_BELOW_ONE = Range(0, 1, below=True)
_ABOVE_ZERO = Range(0, 1, above=True)
_ANY = Range(-_INFINITY, _INFINITY, above=True, below=True)

# The first that fits the name of a key, or its path, says the range: of each of
# its numbers, where it is a sequence or a section.
_RANGES = {
  # What would take all memory of a host, or its process table.
  'num_bands': Range(1, 2**16),
  'num_layers': Range(1, 2**14),
  'self_attends_per_block': Range(0, 2**14),
  'cross_attends': Range(0, 2**14),
  'num_chunks': Range(1, 2**20),
  'overviews': Range(0, 2**10),
  'cell': _COUNT,
  'data_workers': Range(0, 1024),
  # Random keys are made of 32 bits.
  'seed': Range(0, 2**32 - 1),
  '*_seed': Range(0, 2**32 - 1),
  # Optimizers and schedules.
  'learning_rate': _NOT_NEGATIVE,
  'boundaries': _SHARE,
  'flat': _SHARE,
  'factor': _NOT_NEGATIVE,
  'warmup_steps': _WHOLE,
  'layer_decay': _ABOVE_ZERO,
  'multipliers': _NOT_NEGATIVE,
  'b[12]': _BELOW_ONE,
  'momentum': _BELOW_ONE,
  'decay_rate': _BELOW_ONE,
  'epsilon': _NOT_NEGATIVE,
  'weight_decay': _NOT_NEGATIVE,
  'clip_*': _POSITIVE,
  'ema_decay': _BELOW_ONE,
  # Shares and probabilities.
  'label_smoothing': _SHARE,
  'dropout_rate': _BELOW_ONE,
  'mask_rate*': _SHARE,
  'drop_rate': _BELOW_ONE,
  'drop_rates': _SHARE,
  'max_drop': _BELOW_ONE,
  '*_probability': _SHARE,
  '*_share': _SHARE,
  'min_crop': _ABOVE_ZERO,
  # What can be nothing.
  'bad_*': _WHOLE,
  'every': _WHOLE,
  'patience': _WHOLE,
  'profile.steps': _WHOLE,
  '*_masks': _WHOLE,
  '*_doublings': _WHOLE,
  'doublings': _WHOLE,
  '*min_padding': _WHOLE,
  'min_overlap': _WHOLE,
  'randaugment_layers': _WHOLE,
  'max_masked_*': _WHOLE,
  # Measures of time, space and colour.
  '*frame_rate': _POSITIVE,
  '*sample_rate': _POSITIVE,
  'max_frequency': _POSITIVE,
  'max_resolution': _POSITIVE,
  'max_seconds': _POSITIVE,
  'data.stddev': _POSITIVE,
  'span': _POSITIVE,
  'gap': _POSITIVE,
  'flow_scale': _POSITIVE,
  'peaks': _POSITIVE,
  'min_frequency': _NOT_NEGATIVE,
  '*seconds': _NOT_NEGATIVE,
  '*_stddev': _NOT_NEGATIVE,
  'filter_decibels': _NOT_NEGATIVE,
  'noise': _NOT_NEGATIVE,
  'jitter': _NOT_NEGATIVE,
  'extrapolation': _NOT_NEGATIVE,
  'mixup_alpha': _NOT_NEGATIVE,
  'randaugment_magnitude': _NOT_NEGATIVE,
  'loss.*': _NOT_NEGATIVE,
  'm[ai][xn]_scale': _ANY,  # Of some data a factor, of others its logarithm.
  'mean': _ANY,
  'center': _ANY,
  'floor': _ANY,
  # Sizes.
  'max_length': _COUNT,
  'max_steps': _COUNT,
  'max_num_points': _COUNT,
  'max_*_size': _COUNT,
  'max_*': _NOT_NEGATIVE,
  'num_*': _COUNT,
  '*_points': _COUNT,
  '*channels': _COUNT,
  '*_heads': _COUNT,
  '*_size': _COUNT,
  '*_shape': _COUNT,
  '*stride*': _COUNT,
  '*length': _COUNT,
  '*widening_factor': _COUNT,
  '*_every': _COUNT,
  '*_per_*': _COUNT,
  'labels.*': _COUNT,
  'blend_nodes': _COUNT,
  'depth': _COUNT,
  'documents': _COUNT,
  'eval_examples': _COUNT,
  'evaluation_clips': _COUNT,
  'height': _COUNT,
  'held_out_pairs': _COUNT,
  'hop': _COUNT,
  'keep_last': _COUNT,
  'microbatches': _COUNT,
  'shards': _COUNT,
  'train_steps': _COUNT,
  'duration.*': _COUNT,
  'ngrams': Range(2, 64),
  'width': _COUNT,
  'window': _COUNT,
}


def range_of(path: str) -> Range | None:
  """Returns the range of the numbers of a key; None for one not known here.

  Args:
    path: such as 'encoder.num_latents'; what is below a key has its range.
  """
  while path:
    name = path.rpartition('.')[2]
    for pattern, found in _RANGES.items():
      if fnmatch.fnmatchcase(path if '.' in pattern else name, pattern):
        return found
    path = path.rpartition('.')[0]
  return None


def check_ranges(section: Mapping[str, Any], path: str = '') -> None:
  """Raises a ValueError where a number is out of its range.

  Args:
    section: of a config, or all of it.
    path: where it stands in the config.
  """
  for key in section:
    _check(f'{path}.{key}' if path else str(key), section[key])


def _check(path: str, value: Any) -> None:
  if isinstance(value, Mapping | ml_collections.ConfigDict):
    check_ranges(value, path)
  elif isinstance(value, tuple | list):
    for each in value:
      _check(path, each)
  elif isinstance(value, int | float) and not isinstance(value, bool):
    _check_number(path, value)


def _check_number(path: str, number: float) -> None:
  allowed = range_of(path) or _ANY
  if number not in allowed:
    raise ValueError(
      f'config.{path} must be {allowed.expected(number)}, got {number}.'
    )
