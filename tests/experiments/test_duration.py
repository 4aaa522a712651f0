"""How long a run is by the number of its examples."""

import pytest

from experiments.stepping.duration import Duration

DURATION = Duration(epochs=40, least_steps=600, most_steps=1200, evaluations=12)


@pytest.mark.parametrize(
  ('examples', 'steps'),
  # 40 epochs of 1,280 examples in batches of 64 are 800 steps.
  [(10, 600), (1280, 800), (100_000, 1200)],
)
def test_steps_follow_the_examples_within_limits(examples, steps):
  plan = DURATION.plan(examples, 64)
  assert plan['train_steps'] == steps
  assert plan['eval_every'] == plan['checkpoint_every'] == -(-steps // 12)


@pytest.mark.parametrize(
  'wrong',
  [{'epochs': 0}, {'least_steps': 2000}, {'evaluations': 0}],
)
def test_wrong_durations(wrong):
  with pytest.raises(ValueError, match=r'config\.duration'):
    Duration(**wrong)
