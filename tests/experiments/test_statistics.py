"""Statistics of gradients and activations by module, by hand."""

import haiku as hk
import jax
import numpy as np
import pytest

from experiments.configs import bunny, digits, flow, language
from experiments.data.dataset import batch_spec
from experiments.host.configuration import fill_defaults
from experiments.reporting.curves import module_charts, task_metrics
from experiments.reporting.history import History
from experiments.runs.experiment import bind, update_of
from experiments.stepping.parallelism import ALONE, PARALLELISMS
from experiments.stepping.train_state import (
  TrainState,
  init_shapes,
  state_shapes,
)
from experiments.watching.statistics import (
  Interval,
  Statistics,
  activations_of,
  gradients_by_module,
)


class Block(hk.Module):
  """A stack of three layers."""

  def __call__(self, x):
    def layer(x):
      return hk.Linear(2, name='inner')(x)

    return hk.layer_stack(3, name='layers')(layer)(x)


class Relu(hk.Module):
  """Without parameters."""

  def __call__(self, x):
    return jax.nn.relu(x)


def forward(batch, is_training):
  del is_training
  x = hk.Linear(2, name='input')(batch['x'])
  x = Block(name='block')(x)
  relu = Relu(name='relu')
  return relu(relu(x) - 1.0)


MODEL = hk.transform_with_state(forward)
BATCH = {'x': np.array([[1.0], [2.0], [-3.0], [0.0]], np.float32)}
NORMS = {
  'input': {'w': np.float32(3.0), 'b': np.float32(4.0)},
  'block/layers/inner': {'w': np.float32(2.0)},
  'block/layers/other': {'w': np.float32(1.5)},
}


def parameters():
  """Those that make x and 2 x of x, and change nothing in the block."""
  identity = np.stack([np.eye(2)] * 3)
  params = {
    'input': {'w': np.array([[1.0, 2.0]]), 'b': np.zeros(2)},
    'block/layers/inner': {'w': identity, 'b': np.zeros((3, 2))},
  }
  return jax.tree.map(np.float32, params)


@pytest.mark.parametrize('name', sorted(PARALLELISMS))
def test_numbers_by_hand(name):
  parallelism = PARALLELISMS[name]()
  state = parallelism.place_state(TrainState(np.int32(0), parameters(), {}, ()))
  take = Statistics(MODEL, parallelism, 1, microbatches=1)
  found = take(state, parallelism.place_batch(BATCH), NORMS)
  # Rows x and 2 x: 1 2, 2 4, -3 -6, 0 0.
  assert found['modules/activation/input'] == 18.0 / 8.0
  assert found['modules/activation_zeros/input'] == 2.0 / 8.0
  assert found['modules/activation/block'] == 18.0 / 8.0
  # Relu is called twice: 1 2, 2 4, then 0 1, 1 3; zeros in the other rows.
  assert found['modules/activation/relu'] == (9.0 + 5.0) / 16.0
  assert found['modules/activation_zeros/relu'] == (4.0 + 5.0) / 16.0
  assert found['modules/activation_not_finite/relu'] == 0.0
  assert found['modules/gradient_norm/input'] == 5.0
  assert found['modules/gradient_norm/block'] == 2.5
  assert not [name for name in found if 'inner' in name]


def test_the_first_microbatch_and_what_is_not_finite():
  activations = jax.jit(activations_of(MODEL, ALONE, 1, microbatches=2))
  batch = {'x': np.array([[1.0], [np.inf], [np.inf], [1.0]], np.float32)}
  means, _ = activations(parameters(), {}, batch)
  assert float(means['activation_not_finite/input'].total) == 2.0
  assert float(means['activation_not_finite/input'].weight) == 4.0


def test_depth_of_paths():
  assert gradients_by_module(NORMS, 3) == {
    'gradient_norm/input': 5.0,
    'gradient_norm/block/layers/inner': 2.0,
    'gradient_norm/block/layers/other': 1.5,
  }


@pytest.mark.parametrize(
  'config',
  [
    digits.get_config(),
    digits.get_config('vit'),
    language.get_config(),
    flow.get_config(),
    bunny.get_config(),
  ],
  ids=['digits', 'vit', 'language', 'flow', 'bunny'],
)
def test_what_modules_of_our_models_return_can_be_taken_out(config):
  task = bind(config, None).task
  batch = batch_spec(task.data.example, 2)
  params, state = init_shapes(task.model, batch_spec(task.data.example, 1))
  means, _ = jax.eval_shape(
    activations_of(task.model, ALONE, 2), params, state, batch
  )
  names = {key.partition('/')[2] for key in means}
  tops = {name.split('/')[0] for name in names}
  assert {name.split('/')[0] for name in params} <= tops
  assert 'self_attend' not in names


def test_the_update_is_the_same_program():
  def lowered(every):
    config = fill_defaults(digits.get_config())
    config.encoder.cross_attends = (1,)
    config.statistics.every = every
    binding = bind(config, None)
    batch = batch_spec(binding.task.data.example, 2)
    batch['weight'] = jax.ShapeDtypeStruct((2,), np.float32)
    shapes = state_shapes(binding.task.model, binding.optimizer, batch)
    update = jax.jit(update_of(config, binding, ALONE))
    return update.lower(shapes, batch).as_text()

  assert lowered(0) == lowered(10)


def test_steps_that_are_looked_at():
  assert not any(Interval().includes(step) for step in range(100))
  looked = [step for step in range(10) if Interval(every=4).includes(step)]
  assert looked == [0, 4, 8]
  with pytest.raises(ValueError, match='every must not be negative, got -1'):
    Interval(every=-1)
  with pytest.raises(ValueError, match='depth must be at least 1, got 0'):
    Interval(depth=0)


def test_the_report_has_a_line_for_each_module():
  rows = [
    {
      'step': step,
      'train/loss': 1.0,
      'modules/gradient_norm/encoder': 2.0 * step,
      'modules/activation/encoder/cross_attend_0': 0.5,
      'modules/activation_zeros/encoder/cross_attend_0': 0.25,
      'modules/activation_not_finite/encoder': 0.0,
    }
    for step in (1, 2)
  ]
  history = History(rows, 0)
  html = module_charts(history)
  for text in ('Norm of the gradient', 'Share of zeros', 'cross_attend_0'):
    assert text in html
  assert 'not finite' not in html
  assert task_metrics([history]) == ['loss']
