"""Times the model of a config on this machine.

  python -m experiments.benchmark --config=experiments/configs/imagenet_io.py
  ... --examples=8 --repeats=5 --json
  ... --examples=8 --dtype=bfloat16 --noplain
  ... --suite=published --examples=8 --dtype=bfloat16
  ... --suite=scaling
  ... --suite=data --examples=64 --repeats=50

Everything is timed in turns, round after round, in one process; figures are
medians. Ours is timed beside our plain form of attention (keys and values
projected, all scores stored) and, where PyTorch and transformers are installed
and have the same model, beside that one. Operations are counted as in the
papers: a gradient is three forward passes. The matrix rate is that of a product
of square matrices of the same dtype in the same turns, 2048 wide on CPUs and
8192 on devices for which the former is too little to do.
"""

import functools
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import flags

from experiments.baselines import huggingface
from experiments.configs import imagenet, imagenet_io, language
from experiments.data.dataset import batch_spec
from experiments.host import command_line
from experiments.host.output import print_result
from experiments.measuring import input_rate, scaling
from experiments.measuring.forward_pass import forward_operations
from experiments.runs.experiment import bind, settled
from experiments.stepping.parallelism import ALONE
from experiments.stepping.precision import COMPUTE_DTYPES
from experiments.stepping.steps import make_update
from experiments.stepping.train_state import (
  Batch,
  init_state,
)
from perceiver_jax.metrics import Mean
from perceiver_jax.portability import plain_forms

_PUBLISHED = {
  'imagenet': imagenet,
  'imagenet_io': imagenet_io,
  'language': language,
}

_EXAMPLES = flags.DEFINE_integer('examples', 1, 'Examples of a batch.')
_REPEATS = flags.DEFINE_integer(
  'repeats', 5, 'Rounds of timing; batches of --suite=data.'
)
_DTYPE = flags.DEFINE_enum(
  'dtype',
  None,
  COMPUTE_DTYPES,
  'config.compute_dtype, and that of the matrix product; default the former.',
)
_PLAIN = flags.DEFINE_bool('plain', True, 'Time our plain attention too.')
_SUITE = flags.DEFINE_enum(
  'suite',
  'model',
  ['model', 'published', 'scaling', 'data'],
  "'model' times forward and update of --config; 'published' those of "
  f"{', '.join(_PUBLISHED)} in one run; 'scaling' how the gradient of a "
  "cross-attend and of the latent Transformer grow with their sizes; 'data' "
  'how many examples a second the input pipeline makes.',
)


def benchmark(
  config: ml_collections.ConfigDict,
  *,
  examples: int,
  repeats: int,
  plain: bool,
  baseline: str | None,
  dtype: str | None = None,
) -> dict[str, Any]:
  """Times forward and update of a config's model.

  Args:
    config: of an experiment; its data need not be there.
    examples: of a batch of random numbers.
    repeats: rounds of timing.
    plain: whether to time plain attention too.
    baseline: key of `huggingface.MODELS`, or None.
    dtype: in which the model computes, and of the product that gives the
      matrix rate; None for that of the config.

  Returns:
    What the command prints with --json: seconds, bytes, operations a second.
  """
  config, _ = settled(config, None)
  dtype = config.compute_dtype = dtype or config.compute_dtype
  operations = examples * forward_operations(bind(config, None).task)
  compiled = {'ours': _compile(config, examples)}
  if plain:
    with plain_forms():
      compiled['plain'] = _compile(config, examples)
  width = _matrix_width()
  calls = {'matrix': _matrix_product(width, dtype)}
  for form, programs in compiled.items():
    calls |= {f'{form} {name}': p['call'] for name, p in programs.items()}
  if baseline is not None:
    other = huggingface.make_baseline(baseline, examples)
    calls['transformers forward'] = other.forward
    calls['transformers forward and backward'] = other.forward_and_backward
  seconds = time_in_turns(calls, repeats)
  rate = 2 * width**3 / seconds.pop('matrix')
  rows = {}
  for name, value in seconds.items():
    form, _, what = name.partition(' ')
    passes = 1 if what == 'forward' else 3
    rows[name] = {
      'seconds': value,
      'operations_per_second': passes * operations / value,
      'share_of_matrix_rate': passes * operations / value / rate,
    }
    if form in compiled:
      program = compiled[form][what]
      rows[name]['compile_seconds'] = program['compile_seconds']
      rows[name]['temporary_bytes'] = program['temporary_bytes']
  return {
    'device': jax.devices()[0].device_kind,
    'examples': examples,
    'dtype': dtype,
    'repeats': repeats,
    'operations_forward': operations,
    'matrix_rate': rate,
    'rows': rows,
  }


def time_in_turns(
  calls: Mapping[str, Callable[[], Any]], repeats: int
) -> dict[str, float]:
  """Returns the median seconds of each call, after one that is not counted.

  Args:
    calls: functions that return when their work is done.
    repeats: rounds; in each, every function is called once.
  """
  times: dict[str, list[float]] = {name: [] for name in calls}
  for turn in range(repeats + 1):
    for name, call in calls.items():
      start = time.perf_counter()
      call()
      if turn:
        times[name].append(time.perf_counter() - start)
  return {name: statistics.median(values) for name, values in times.items()}


def random_batch(spec: Batch) -> Batch:
  """Returns arrays of these shapes: normal floats, zeros for integers, True."""
  rng = np.random.default_rng(0)

  def fill(x: jax.ShapeDtypeStruct) -> np.ndarray:
    if jnp.issubdtype(x.dtype, jnp.floating):
      return rng.normal(size=x.shape).astype(x.dtype)
    return np.full(x.shape, x.dtype == np.bool_, x.dtype)

  return jax.tree.map(fill, spec)


def _compile(
  config: ml_collections.ConfigDict, examples: int
) -> dict[str, dict[str, Any]]:
  """Compiles forward and update; returns calls, compile times, memory."""
  task, schedule, optimizer = bind(config, None)
  batch = random_batch(batch_spec(task.data.example, examples))
  batch['weight'] = np.ones(examples, np.float32)
  batch = jax.device_put(batch)  # No step waits for its batch.
  train_state = jax.jit(
    lambda: init_state(task.model, optimizer, config.seed, batch)
  )()
  update = make_update(
    task.model,
    task.loss_function or _any_loss,
    optimizer,
    schedule,
    seed=config.seed,
    collectives=ALONE,
  )

  def forward(params, state, batch):
    return task.model.apply(params, state, None, batch, is_training=False)[0]

  params, state = train_state.params, train_state.state
  programs = {
    'forward': _program(forward, (params, state, batch)),
    'update': _program(update, (train_state, batch), donated=(0,)),
  }
  run = programs['update']['run']

  def advance() -> None:
    nonlocal train_state
    train_state, metrics = run(train_state, batch)
    jax.block_until_ready((train_state, metrics))

  # The update's donated state is not that of the forward pass.
  kept = jax.tree.map(jnp.copy, (params, state))
  programs['update']['call'] = advance
  programs['forward']['call'] = functools.partial(
    lambda *arguments: jax.block_until_ready(
      programs['forward']['run'](*arguments)
    ),
    *kept,
    batch,
  )
  return programs


def _program(
  function: Callable, arguments: tuple, donated: tuple[int, ...] = ()
) -> dict[str, Any]:
  lowered = jax.jit(function, donate_argnums=donated).lower(*arguments)
  start = time.perf_counter()
  run = lowered.compile()
  return {
    'run': run,
    'compile_seconds': time.perf_counter() - start,
    'temporary_bytes': run.memory_analysis().temp_size_in_bytes,
  }


def _any_loss(predictions: Any, batch: Batch):
  total = sum(jnp.square(x).mean() for x in jax.tree.leaves(predictions))
  loss = Mean(total, jnp.ones(()))
  return [loss], {'loss': loss}


def _matrix_width() -> int:
  return 2048 if jax.devices()[0].platform == 'cpu' else 8192


def _matrix_product(width: int, dtype: str) -> Callable[[], Any]:
  x = jnp.asarray(np.random.default_rng(0).normal(size=(width, width)), dtype)
  product = jax.jit(lambda x: x @ x)
  return lambda: jax.block_until_ready(product(x))


def render(result: dict[str, Any]) -> str:
  """Returns the result of `benchmark` as text."""
  lines = [
    f'{result["device"]}, {result["examples"]} examples, {result["dtype"]}, '
    'medians of '
    f'{result["repeats"]} rounds; matrix rate '
    f'{result["matrix_rate"] / 1e9:,.0f} GFLOP/s; forward pass '
    f'{result["operations_forward"] / 1e9:,.1f} GFLOP (as in the papers)',
    f'{"":<34} {"seconds":>9} {"GFLOP/s":>9} {"of rate":>8} '
    f'{"compile":>8} {"temporaries":>12}',
  ]
  for name, row in result['rows'].items():
    compiled = ''
    if 'compile_seconds' in row:
      compiled = (
        f' {row["compile_seconds"]:>6.1f} s '
        f'{row["temporary_bytes"] / 1e6:>9,.0f} MB'
      )
    lines.append(
      f'{name:<34} {row["seconds"]:>9.3f} '
      f'{row["operations_per_second"] / 1e9:>9,.0f} '
      f'{row["share_of_matrix_rate"]:>8.0%}{compiled}'
    )
  rows = result['rows']
  for ours, other in (
    ('ours forward', 'plain forward'),
    ('ours update', 'plain update'),
    ('ours forward', 'transformers forward'),
    ('ours update', 'transformers forward and backward'),
  ):
    if other in rows:
      ratio = rows[ours]['seconds'] / rows[other]['seconds']
      lines.append(f'{ours} takes {ratio:.2f} times as long as {other}')
  return '\n'.join(lines)


def render_several(results: dict[str, dict[str, Any]]) -> str:
  """Returns results of `benchmark`, by the names of configs, as text."""
  return '\n\n'.join(
    f'{name}\n{render(result)}' for name, result in results.items()
  )


def _baseline_name() -> str | None:
  """The model of transformers for --config, where there is one."""
  name = command_line.config_name()
  if name == 'imagenet_io':
    name = 'imagenet_io:fourier'
  if name == 'language':
    name = 'language:bytes'
  known = name in huggingface.MODELS and huggingface.installed()
  return name if known else None


def main() -> None:
  """Runs --suite."""
  for flag in (_EXAMPLES, _REPEATS):
    if flag.value < 1:
      raise ValueError(f'--{flag.name} must be at least 1, got {flag.value}.')
  if _SUITE.value == 'scaling':
    result = scaling.measure(time_in_turns, _REPEATS.value)
    print_result(result, scaling.render)
    return
  if _SUITE.value == 'data':
    data_dir = command_line.data_dir()
    result = input_rate.measure(
      settled(command_line.config(), data_dir)[0],
      data_dir,
      batch_size=_EXAMPLES.value,
      batches=_REPEATS.value,
    )
    print_result(result, input_rate.render)
    return
  measure = functools.partial(
    benchmark,
    examples=_EXAMPLES.value,
    repeats=_REPEATS.value,
    plain=_PLAIN.value,
    dtype=_DTYPE.value,
  )
  if _SUITE.value == 'published':
    result = {
      name: measure(config.get_config(), baseline=None)
      for name, config in _PUBLISHED.items()
    }
    print_result(result, render_several)
    return
  config = command_line.config()
  dtype = _DTYPE.value or config.compute_dtype
  baseline = _baseline_name() if dtype == 'float32' else None
  print_result(measure(config, baseline=baseline), render)


if __name__ == '__main__':
  command_line.run(main)
