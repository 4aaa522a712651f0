"""Runs that start from another: what is loaded, what is kept, what moves."""

import contextlib
import functools
import shutil

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.configs import digits, imagenet, imagenet_io
from experiments.data.dataset import batch_spec
from experiments.runs.experiment import build_experiment, open_checkpoints
from experiments.runs.finetuning import freeze
from experiments.runs.transfer import (
  exact,
  learned_grids,
  load_source,
  transfer,
)
from experiments.stepping import optimizers
from experiments.stepping.train_state import TrainState, init_state
from experiments.tasks import make_task
from experiments.tasks.task import Task
from experiments.train import train_and_evaluate

SKIPPED = ('perceiver_classifier',)
TABLE = 'learned_positions'
FROZEN = ('encoder/cross_attend_0', 'encoder/latents')


# One cross-attend and one layer: what compiles fast.
ENCODER = dict(
  num_latents=4,
  latent_channels=16,
  cross_attends=(1,),
  self_attends_per_block=1,
)


def small_digits(**finetuning):
  config = digits.get_config()
  config.batch_size = 40
  config.train_steps = 3
  config.eval_every = 100
  config.inputs.image.positions.num_bands = 2
  config.encoder.update(ENCODER)
  config.optimizer.weight_decay = 0.5
  config.schedule.warmup_steps = 1
  config.report = {'seconds': 0.0}
  if finetuning:
    config.finetuning = finetuning
  return config


def small_imagenet(image_size, **finetuning):
  """Learned positions, of as many points as the image has."""
  config = imagenet.get_config('learned')
  config.data.image_size = image_size
  config.encoder.update(ENCODER)
  if finetuning:
    config.finetuning = finetuning
  return config


def any_state(config, seed):
  """A train state with numbers of any kind: nothing to compile."""
  task = make_task(config, None)
  shapes = jax.eval_shape(
    lambda batch: init_state(task.model, optax.sgd(1.0), 0, batch),
    batch_spec(task.data.example, 1),
  )
  rng = np.random.default_rng(seed)
  numbers = jax.tree.map(
    lambda x: rng.normal(size=x.shape).astype(x.dtype), shapes
  )
  return numbers._replace(step=np.int32(0))


def write_run(config, workdir, steps=(5,), metrics=None):
  """Leaves what a run leaves: checkpoints and config.json."""
  train_state = any_state(config, seed=1)
  workdir.mkdir(exist_ok=True)
  (workdir / 'config.json').write_text(config.to_json())
  with contextlib.closing(open_checkpoints(config, workdir)) as checkpoints:
    for step in steps:
      checkpoints.save(
        train_state._replace(step=np.int32(step)), 0, (metrics or {}).get(step)
      )
  return train_state


def flat(tree):
  return {
    f'{m}/{n}': np.asarray(x) for m, n, x in hk.data_structures.traverse(tree)
  }


def below(prefixes, path):
  return any(path == p or path.startswith(f'{p}/') for p in prefixes)


# freeze


PARAMS = {
  'encoder': {'latents': np.float32([[-0.0, 0.5], [1.5, -2.0]])},
  'encoder/attend_1': {'w': np.full((2, 2), 0.3, np.float32)},
  'encoder/attend_10': {'w': np.full((2, 2), 0.7, np.float32)},
  'head': {
    'w': np.full((2, 1), -0.2, np.float32),
    'b': np.zeros(1, np.float32),
  },
}
ADAMW = functools.partial(optimizers.adamw, weight_decay=0.1, clip_norm=1.0)
LAMB = functools.partial(optimizers.lamb, weight_decay=0.1, clip_norm=1.0)


def product(x, params):
  """All parameters matter, and the head with no more than the rest."""
  for module in ('encoder', 'encoder/attend_1', 'encoder/attend_10', 'head'):
    x = x @ params[module].get('w', params[module].get('latents'))
  return x + params['head']['b'][None]


def frozen_product(frozen, optimizer):
  """Task and optimizer for `product`, and the gradient of its loss."""
  model = hk.TransformedWithState(
    init=None,
    apply=lambda params, state, rng, x, is_training: (
      product(x, params),
      state,
    ),
  )
  config = small_digits(workdir='unused', freeze=frozen)
  task, optimizer = freeze(
    config, Task(model, None, None, None, None), optimizer
  )

  def loss(params):
    outputs, _ = task.model.apply(
      params, {}, None, jnp.ones((1, 2)), is_training=True
    )
    return jnp.square(outputs - 3.0).sum()

  return optimizer, loss


@pytest.mark.parametrize('make', [ADAMW, LAMB])
def test_the_rest_is_trained_as_if_alone(make):
  frozen = ('encoder/attend_1', 'encoder/latents')
  optimizer, loss = frozen_product(frozen, make(lambda count: 0.1))
  alone = make(lambda count: 0.1)
  rest = {m: PARAMS[m] for m in ('encoder/attend_10', 'head')}
  params, state = PARAMS, optimizer.init(PARAMS)
  alone_state = alone.init(rest)
  for _ in range(4):
    gradients = jax.grad(lambda rest: loss(PARAMS | rest))(rest)
    updates, alone_state = alone.update(gradients, alone_state, rest)
    rest = optax.apply_updates(rest, updates)
    updates, state = optimizer.update(jax.grad(loss)(params), state, params)
    params = optax.apply_updates(params, updates)
  trained = flat(params)
  for path, array in flat(PARAMS).items():
    if below(frozen, path):
      assert trained[path].tobytes() == array.tobytes(), path
    else:
      assert not np.array_equal(trained[path], array), path
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-6),
    {m: params[m] for m in rest},
    rest,
  )
  assert jax.tree.structure(state) == jax.tree.structure(alone_state)


def test_gradients_of_frozen_parameters_are_not_computed():
  _, loss = frozen_product(('encoder', 'head/w'), ADAMW(lambda count: 0.1))
  gradients = jax.grad(loss)(PARAMS)
  for path, gradient in flat(gradients).items():
    assert gradient.any() == (path == 'head/b'), path
  # The product is computed once, not once more transposed.
  jaxpr = str(jax.make_jaxpr(jax.grad(loss))(PARAMS))
  assert jaxpr.count('dot_general') == 4


@pytest.mark.parametrize(
  ('frozen', 'expected'),
  [
    (
      ('encodr',),
      "freeze has 'encodr', but nothing is called so; did you mean",
    ),
    (('encoder/attend',), "did you mean 'encoder/attend_1'?"),
    (('zzz',), "nothing is called so. At the top are ['encoder', 'head']"),
    (('encoder', 'head'), 'leaves nothing to train'),
  ],
)
def test_mistakes_in_freeze(frozen, expected):
  optimizer, _ = frozen_product(frozen, ADAMW(lambda count: 0.1))
  with pytest.raises(ValueError) as error:
    optimizer.init(PARAMS)
  assert 'config.finetuning.freeze' in str(error.value)
  assert expected in str(error.value)


# transfer


def test_transfer_replaces_all_but_what_is_skipped():
  source = jax.tree.map(lambda x: x + np.float64(1.0), PARAMS)
  source['head'] = {'w': np.zeros((2, 9)), 'extra': np.zeros(3)}
  result, problems = transfer(source, PARAMS, ('head',), exact)
  assert problems == []
  assert flat(result).keys() == flat(PARAMS).keys()
  for path, array in flat(result).items():
    added = 0.0 if path.startswith('head/') else 1.0
    np.testing.assert_allclose(array, flat(PARAMS)[path] + added)
    assert array.dtype == np.float32


def test_transfer_lists_all_that_does_not_fit():
  source = {
    'encoder': {'latents': np.zeros((3, 2)), 'more': np.zeros(1)},
    'encoder/attend_10': PARAMS['encoder/attend_10'],
    'head': {'w': PARAMS['head']['w']},
    'other': {'b': np.zeros(4)},
  }
  result, problems = transfer(source, PARAMS, ('encoder/attend_1',), exact)
  assert problems == [
    'encoder/latents: (3, 2) in the source, (2, 2) here',
    'head/b: missing in the source',
    'encoder/more: left over, (1,) in the source',
    'other/b: left over, (4,) in the source',
  ]
  assert flat(result).keys() == flat(PARAMS).keys()


# Whole runs.


@pytest.fixture(scope='module')
def source(tmp_path_factory):
  """A run whose best checkpoint is not its last."""
  config = small_digits()
  config.checkpoints.best_metric = 'eval/loss'
  config.checkpoints.best_mode = 'min'
  workdir = tmp_path_factory.mktemp('runs') / 'source'
  losses = {4: {'eval/loss': 1.0}, 6: {'eval/loss': 3.0}}
  return workdir, write_run(config, workdir, (4, 6), losses)


@pytest.fixture(scope='module')
def tuned(source, tmp_path_factory):
  """A fine-tuned run: its config, workdir and last train state."""
  workdir = tmp_path_factory.mktemp('runs') / 'tuned'
  source_workdir = shutil.copytree(source[0], workdir.parent / 'source')
  config = small_digits(
    workdir=str(source_workdir), skip=SKIPPED, freeze=FROZEN
  )
  results = train_and_evaluate(config, workdir, None)
  assert 0.0 <= results['eval/accuracy'] <= 1.0
  return config, workdir, last_state(config, workdir)


def last_state(config, workdir):
  experiment = build_experiment(config, None)
  with contextlib.closing(open_checkpoints(config, workdir)) as checkpoints:
    return checkpoints.restore(
      checkpoints.latest_step(), experiment.template
    ).train_state


def test_frozen_parameters_are_the_sources_and_others_move(source, tuned):
  _, _, train_state = tuned
  assert train_state.step == 3
  theirs, ours = flat(source[1].params), flat(train_state.params)
  frozen = [path for path in ours if below(FROZEN, path)]
  assert len(frozen) > 10
  for path, array in ours.items():
    same = array.tobytes() == theirs[path].tobytes()
    assert same == (path in frozen), path


def test_the_optimizer_knows_no_frozen_parameters(tuned):
  moments = [
    jax.tree_util.keystr(path)
    for path, _ in jax.tree.leaves_with_path(tuned[2].opt_state)
  ]
  assert any('encoder/latent_block_0' in path for path in moments)
  assert not any('encoder/cross_attend_0' in path for path in moments)
  assert not any('latents' in path for path in moments)


def test_a_resumed_run_does_not_read_the_source(tuned, tmp_path, capsys):
  config, workdir, before = tuned
  config.finetuning.workdir = str(tmp_path / 'gone')
  train_and_evaluate(config, workdir, None)
  printed = capsys.readouterr().out
  assert 'Resuming from the checkpoint of step 3.' in printed
  assert 'Weights: from' not in printed
  jax.tree.map(
    np.testing.assert_array_equal, last_state(config, workdir), before
  )


# load_source, without training.


@pytest.fixture(scope='module')
def initial():
  return any_state(small_digits(), seed=2)


def load(config, initial):
  task = make_task(config, None)
  return load_source(config, task, optax.sgd(1.0, momentum=0.9), initial)


def test_the_state_to_start_from(source, initial, capsys):
  workdir, theirs = source
  loaded = load(small_digits(workdir=str(workdir), skip=SKIPPED), initial)
  # The best by the source's own metric.
  assert (
    f'from the checkpoint of step 4 in {workdir}' in capsys.readouterr().out
  )
  assert isinstance(loaded, TrainState) and loaded.step == 0
  for path, array in flat(loaded.params).items():
    expected = initial if below(SKIPPED, path) else theirs
    np.testing.assert_array_equal(array, flat(expected.params)[path])
  moments = jax.tree.leaves(loaded.opt_state)
  assert len(moments) == len(flat(loaded.params))
  assert not any(np.any(moment) for moment in moments)


@pytest.mark.parametrize(
  ('checkpoint', 'step'), [('latest', 6), (4, 4), ('6', 6)]
)
def test_any_checkpoint(source, initial, checkpoint, step, capsys):
  load(small_digits(workdir=str(source[0]), checkpoint=checkpoint), initial)
  assert f'checkpoint of step {step} in' in capsys.readouterr().out


def error(config, initial):
  with pytest.raises(ValueError) as error:
    load(config, initial)
  return str(error.value)


@pytest.mark.parametrize(
  ('section', 'expected'),
  [
    ({'workdir': 'no/run'}, "'no/run' is not the workdir of a run"),
    ({'checkpoint': 5}, 'no checkpoint of step 5'),
    ({'checkpoint': 'newest'}, "'best', 'latest' or a step"),
    (
      {'skip': ('perceiver_classifer',)},
      "finetuning.skip has 'perceiver_classifer', but nothing is called so; "
      "did you mean 'perceiver_classifier'?",
    ),
    ({'resample': ('encodr',)}, "finetuning.resample has 'encodr'"),
    ({'skips': ()}, "finetuning.skips; did you mean 'skip'?"),
    ({'skip': 'encoder'}, 'config.finetuning.skip must be Sequence[str]'),
  ],
)
def test_mistakes(source, initial, section, expected):
  config = small_digits(**{'workdir': str(source[0]), **section})
  assert expected in error(config, initial)


def test_a_section_that_is_none(source):
  config = small_digits()
  config.finetuning = str(source[0])
  with pytest.raises(ValueError, match=r'config\.finetuning must be a section'):
    make_task(config, None)


def test_the_best_of_a_run_without_evaluations_is_the_latest(
  initial, tmp_path, capsys
):
  config = small_digits(workdir=str(tmp_path / 'run'))
  write_run(small_digits(), tmp_path / 'run')
  load(config, initial)
  assert 'from the checkpoint of step 5' in capsys.readouterr().out


def test_another_model_is_listed_whole(source):
  config = small_digits(workdir=str(source[0]), skip=SKIPPED)
  config.encoder.num_latents = 5
  config.encoder.cross_attends = (1, 1)
  text = error(config, any_state(config, seed=2))
  assert 'does not fit this config' in text
  assert 'encoder/latents: (4, 16) in the source, (5, 16) here\n' in text
  assert 'encoder/cross_attend_1/mlp/hidden/b: missing in the source' in text
  assert text.count('missing') > 10
  assert 'config.finetuning.skip takes prefixes' in text


def test_haiku_state_is_loaded_too(tmp_path):
  """The averages of a batch norm; skipping its module skips them."""
  config = imagenet_io.get_config('conv')
  config.data.image_size = 8
  config.encoder.update(ENCODER)
  theirs = write_run(config, tmp_path / 'run')
  initial = any_state(config, seed=2)
  assert len(flat(initial.state)) > 2
  (module,) = {path.split('/')[0] for path in flat(initial.state)}
  for skip, expected in (((), theirs), ((module,), initial)):
    config.finetuning = dict(
      workdir=str(tmp_path / 'run'), checkpoint='latest', skip=skip
    )
    loaded = load(config, initial)
    jax.tree.map(np.testing.assert_array_equal, loaded.state, expected.state)


# Learned positions.


@pytest.fixture(scope='module')
def coarse(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('runs') / 'coarse'
  return str(workdir), write_run(small_imagenet(6), workdir)


@pytest.fixture(scope='module')
def fine():
  return any_state(small_imagenet(11), seed=2)


def test_grids_are_those_of_the_data():
  assert learned_grids(make_task(small_imagenet(6), None)) == {TABLE: (6, 6)}
  assert learned_grids(make_task(small_digits(), None)) == {}


def test_learned_positions_move_to_another_grid(coarse, fine):
  workdir, theirs = coarse
  config = small_imagenet(
    11, workdir=workdir, checkpoint='latest', resample=(TABLE,)
  )
  params = load(config, fine).params
  before = theirs.params[TABLE]['positions'].reshape(6, 6, -1)
  after = params[TABLE]['positions'].reshape(11, 11, -1)
  # With 11 points for 6, every second lies where one lay before.
  np.testing.assert_allclose(after[::2, ::2], before, atol=1e-6)
  assert after.dtype == np.float32
  latents = theirs.params['encoder']['latents']
  np.testing.assert_array_equal(params['encoder']['latents'], latents)


def test_positions_are_not_resampled_unasked(coarse, fine):
  config = small_imagenet(11, workdir=coarse[0], checkpoint='latest')
  text = error(config, fine)
  assert (
    f'{TABLE}/positions: (36, 128) in the source, (121, 128) here\n' in text
  )
  assert 'config.finetuning.resample those of learned position tables' in text


def test_only_positions_are_resampled(coarse):
  config = small_imagenet(
    6, workdir=coarse[0], checkpoint='latest', resample=('encoder',)
  )
  load(config, any_state(config, seed=2))  # There is nothing to do.
  config.encoder.num_latents = 5
  text = error(config, any_state(config, seed=2))
  assert '(5, 16) here; only learned position tables can be resampled' in text
