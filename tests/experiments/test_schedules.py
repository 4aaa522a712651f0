"""Schedules in written-out numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.stepping import schedules

# 120 epochs of 10 steps; the paper lowers the rate at 84, 102 and 114.
PAPER_STEPS = functools.partial(
  schedules.step,
  1200,
  learning_rate=4e-3,
  boundaries=(84 / 120, 102 / 120, 114 / 120),
)


@pytest.mark.parametrize('count', [0, 1, 99, 100, 10_000])
def test_constant(count):
  assert schedules.constant(100, learning_rate=0.25)(count) == 0.25


@pytest.mark.parametrize(
  ('count', 'expected'),
  [
    (0, 4e-3),
    (839, 4e-3),
    (840, 4e-4),
    (1019, 4e-4),
    (1020, 4e-5),
    (1139, 4e-5),
    (1140, 4e-6),
    (1199, 4e-6),
  ],
)
def test_step_of_the_paper(count, expected):
  np.testing.assert_allclose(PAPER_STEPS()(count), expected, rtol=1e-6)


def test_step_rounds_boundaries_to_whole_steps():
  # 0.66 and 0.84 of 10 steps are 6.6 and 8.4: steps 7 and 8.
  schedule = schedules.step(
    10, learning_rate=8.0, boundaries=(0.66, 0.84), factor=0.5
  )
  values = [float(schedule(i)) for i in range(10)]
  assert values == [8.0] * 7 + [4.0] + [2.0] * 2


def test_step_keeps_boundaries_that_round_to_the_same_step():
  # A short trial of a long config: 0.70 and 0.72 of 10 steps are both step 7.
  schedule = schedules.step(
    10, learning_rate=8.0, boundaries=(0.70, 0.72), factor=0.5
  )
  assert [float(schedule(i)) for i in (6, 7, 9)] == [8.0, 2.0, 2.0]


@pytest.mark.parametrize(
  ('count', 'expected'),
  [(0, 2.0), (25, 1.7071068), (50, 1.0), (75, 0.2928932), (100, 0.0)],
)
def test_cosine(count, expected):
  schedule = schedules.cosine(100, learning_rate=2.0)
  np.testing.assert_allclose(schedule(count), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
  ('count', 'expected'),
  [
    (0, 2.0),
    (39, 2.0),
    (40, 2.0),
    (55, 1.7071068),
    (70, 1.0),
    (85, 0.2928932),
    (100, 0.0),
  ],
)
def test_flat_then_cosine(count, expected):
  schedule = schedules.flat_then_cosine(100, learning_rate=2.0, flat=0.4)
  np.testing.assert_allclose(schedule(count), expected, rtol=1e-5, atol=1e-7)


def test_flat_then_cosine_is_flat_for_half_the_run_by_default():
  schedule = schedules.flat_then_cosine(8, learning_rate=1.0)
  values = [float(schedule(i)) for i in (4, 5, 6)]
  np.testing.assert_allclose(values, [1.0, 0.8535534, 0.5], rtol=1e-6)


def test_flat_then_cosine_without_room_for_the_cosine_is_flat():
  # 0.99 of 10 steps rounds to all of them.
  schedule = schedules.flat_then_cosine(10, learning_rate=1.0, flat=0.99)
  assert [float(schedule(i)) for i in (0, 9)] == [1.0, 1.0]


def test_flat_then_cosine_without_a_flat_part_is_cosine():
  flat = schedules.flat_then_cosine(20, learning_rate=1.0, flat=0.0)
  cosine = schedules.cosine(20, learning_rate=1.0)
  for count in (0, 3, 19):
    assert float(flat(count)) == float(cosine(count))


def test_warm_up_of_a_constant():
  schedule = schedules.constant(10, learning_rate=0.8, warmup_steps=4)
  values = [float(schedule(i)) for i in range(6)]
  np.testing.assert_allclose(values, [0.2, 0.4, 0.6, 0.8, 0.8, 0.8], rtol=1e-6)


@pytest.mark.parametrize(
  'schedule',
  [
    PAPER_STEPS,
    functools.partial(schedules.cosine, 100, learning_rate=2.0),
    functools.partial(schedules.flat_then_cosine, 100, learning_rate=2.0),
  ],
)
def test_warm_up_multiplies_every_schedule(schedule):
  plain, warm = schedule(), schedule(warmup_steps=10)
  for count, ramp in [(0, 0.1), (4, 0.5), (9, 1.0), (10, 1.0), (60, 1.0)]:
    np.testing.assert_allclose(warm(count), ramp * plain(count), rtol=1e-6)


@pytest.mark.parametrize('name', sorted(schedules.SCHEDULES))
def test_schedules_are_the_same_compiled(name):
  extra = {'boundaries': (0.5,)} if name == 'step' else {}
  schedule = schedules.SCHEDULES[name](
    20, learning_rate=0.1, warmup_steps=5, **extra
  )
  for count in (0, 4, 9, 10, 19):
    compiled = jax.jit(schedule)(jnp.int32(count))
    np.testing.assert_allclose(compiled, schedule(count), rtol=1e-5)


@pytest.mark.parametrize('boundaries', [(84, 102), (0.5, 1.0), (0.0,), (-0.1,)])
def test_boundaries_outside_the_run(boundaries):
  with pytest.raises(ValueError, match=r'schedule\.boundaries') as error:
    schedules.step(120, learning_rate=1.0, boundaries=boundaries)
  assert str(boundaries) in str(error.value)


@pytest.mark.parametrize('flat', [-0.1, 1.0, 55])
def test_flat_outside_the_run(flat):
  with pytest.raises(ValueError, match=rf'schedule\.flat .*got {flat}'):
    schedules.flat_then_cosine(120, learning_rate=1.0, flat=flat)


@pytest.mark.parametrize('name', sorted(schedules.SCHEDULES))
def test_negative_warm_up(name):
  # Accepted, it would be a negative learning rate: uphill from step one.
  extra = {'boundaries': (0.5,)} if name == 'step' else {}
  with pytest.raises(ValueError, match='warmup_steps'):
    schedules.SCHEDULES[name](20, learning_rate=0.1, warmup_steps=-1, **extra)
