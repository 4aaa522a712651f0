"""Rows whose answers are about the elements of an input."""

import numpy as np
import pytest

from experiments.tasks.table.columns import made
from experiments.tasks.table.examples import RowExamples

STEPS = 40
SERIES = {
  'name': 'ecg',
  'key': 'ecg',
  'role': 'input',
  'kind': 'series',
  'files': {
    'num_steps': 16,
    'max_steps': 99,
    'num_channels': 1,
    'channels': [],
    'mean': [0.0],
    'stddev': [1.0],
    'max_speed_change': 0.2,
    'max_scale': 0.0,
    'noise': 0.0,
  },
  'elements': {'name': 'series_windows', 'patch': 1, 'window': 8},
}


def answer(name, kind, options):
  return {
    'name': name,
    'key': name,
    'role': 'answer',
    'kind': kind,
    'options': options,
    'asks': 'ecg',
    'weight': 1.0,
  }


def whole(name):
  """A number a step: the number of the step."""
  return answer(name, 'sequence', {'centre': 0.0, 'spread': 1.0})


def kept(there):
  steps = np.arange(STEPS, dtype=np.float32)
  return {
    'row': np.int32(0),
    'inputs': {'ecg': {'series': steps[:, None], 'there': np.bool_(True)}},
    'answers': {
      name: {'numbers': steps if has else steps[:0], 'there': np.bool_(has)}
      for name, has in there.items()
    },
  }


@pytest.mark.parametrize(
  'there', [(True, True), (True, False), (False, True), (False, False)]
)
def test_all_answers_follow_their_input(there):
  examples = RowExamples(*made([SERIES, whole('first'), whole('second')]), 0.0)
  row = kept(dict(zip(('first', 'second'), there, strict=True)))
  for draw in (None, 0, 1, 2):
    if draw is None:
      example = examples.prepare(row)
    else:
      example = examples.augment(row, np.random.default_rng(draw))
    series = example['inputs']['ecg']['series'][:, 0]
    # Of a series that is played faster, every step is further.
    assert np.ptp(series) == 15 if draw is None else np.ptp(series) != 15
    for name, has in zip(('first', 'second'), there, strict=True):
      found = example['answers'][name]
      assert found['there'] == has and found['known'].all() == has
      if has:
        assert np.abs(found['numbers'] - series).max() <= 0.501


def test_a_forecast_suffers_no_other_answer_about_its_steps():
  forecast = answer(
    'ecg', 'forecast', {'steps': 4, 'levels': [0.5], 'period': 1}
  )
  forecast = {**forecast, 'key': 'ecg_forecast'}
  RowExamples(*made([SERIES, forecast]), 0.0)
  with pytest.raises(ValueError, match="'ecg' and 'first' are both about"):
    made([SERIES, whole('first'), forecast])
