"""When a run ends before its last step."""

import pytest

from experiments.stepping.early_stop import EarlyStop, Seen


def ends_after(stop, values):
  """The evaluation at which a run ends; None where it goes on."""
  seen = Seen()
  for number, value in enumerate(values, 1):
    # As a checkpoint holds it.
    seen = Seen(**stop.after(seen, {stop.metric: value})._asdict())
    if stop.reason(seen):
      return number
  return None


@pytest.mark.parametrize(
  ('values', 'end'),
  [
    ([3.0, 2.0, 2.5, 1.0, 1.5, 1.0, 0.5], 6),  # Equal is no better.
    ([3.0, 2.0, 2.5, 1.0, 1.5, 0.9], None),
    ([3.0, float('nan'), float('nan')], 3),
    ([float('nan'), 2.0, 1.0], None),
  ],
)
def test_a_run_ends_after_evaluations_that_are_no_better(values, end):
  assert ends_after(EarlyStop(patience=2), values) == end
  higher = EarlyStop(patience=2, mode='max', metric='eval/accuracy')
  assert ends_after(higher, [-value for value in values]) == end


def test_without_patience_no_metric_is_asked_for():
  assert EarlyStop().after(Seen(), {}) == Seen()
  assert EarlyStop().reason(Seen(1.0, 100)) == ''


def test_the_reason_has_the_numbers():
  reason = EarlyStop(patience=3).reason(Seen(0.125, 3))
  assert reason == (
    'eval/loss has not been better than 0.1250 in 3 evaluations '
    '(config.early_stop.patience = 3)'
  )


def test_values_out_of_their_range():
  with pytest.raises(ValueError, match='patience must not be negative, got -1'):
    EarlyStop(patience=-1)
  with pytest.raises(ValueError, match="mode must be 'max' or 'min', got 'up'"):
    EarlyStop(mode='up')
