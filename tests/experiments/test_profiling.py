"""Profiler traces, read back."""

import jax
import jax.numpy as jnp
import pytest

from experiments.watching.profiling import Profiler


@jax.jit
def update(x, y):
  return x @ y, x.sum()


X = jnp.eye(4)


def run(workdir, first_step, last_step, **section):
  """Steps of a run."""
  profiler = Profiler(workdir, **section)
  for step in range(first_step, last_step + 1):
    product, total = profiler.run(step, update, X, X)
    assert (product == X).all() and total == 4.0
  profiler.close()


def traced_steps(workdir):
  """Numbers of the steps in each trace, where TensorBoard looks for them."""
  traces = []
  for path in sorted(
    (workdir / 'tensorboard' / 'plugins' / 'profile').glob('*/*.xplane.pb')
  ):
    planes = jax.profiler.ProfileData.from_file(str(path)).planes
    traces.append(
      sorted(
        dict(event.stats)['step_num']
        for plane in planes
        if plane.name.startswith('/host')
        for line in plane.lines
        for event in line.events
        if event.name == 'train'
      )
    )
  return traces


def test_the_steps_of_the_config_are_traced(tmp_path, capsys):
  run(tmp_path, 1, 6, steps=(2, 4))
  assert traced_steps(tmp_path) == [[2, 3, 4]]
  assert capsys.readouterr().out == (
    f'Profile of steps 2 to 4 in {tmp_path}/tensorboard/plugins/profile.\n'
  )


def test_an_interrupted_run_ends_its_trace_and_the_next_goes_on(
  tmp_path, capsys
):
  run(tmp_path / 'a', 1, 3, steps=(2, 5))
  assert traced_steps(tmp_path / 'a') == [[2, 3]]
  run(tmp_path / 'b', 4, 9, steps=(2, 5))
  assert traced_steps(tmp_path / 'b') == [[4, 5]]
  out = capsys.readouterr().out
  assert 'steps 2 to 3' in out and 'steps 4 to 5' in out


@pytest.mark.parametrize(
  ('first_step', 'section'),
  [
    (1, {}),
    (1, {'steps': ()}),
    (6, {'steps': (2, 5)}),  # resumed after it
    (1, {'steps': (2, 3), 'active': False}),
  ],
)
def test_there_is_nothing_without_such_steps(
  tmp_path, capsys, first_step, section
):
  run(tmp_path, first_step, 8, **section)
  assert list(tmp_path.iterdir()) == []
  assert capsys.readouterr().out == ''


@pytest.mark.parametrize('steps', [(10,), (1, 2, 3), (0, 5), (7, 6), [-3, -1]])
def test_wrong_steps_are_told_at_once(tmp_path, steps):
  with pytest.raises(ValueError, match=r'profile.steps=10,15'):
    Profiler(tmp_path, steps=steps)
