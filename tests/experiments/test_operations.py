"""Operations against sums on paper and against the papers' numbers."""

import contextvars
import functools

import haiku as hk
import jax
import jax.numpy as jnp
import pytest
from jax.experimental import pallas as pl

from experiments.measuring.operations import count_operations, sum_parts
from perceiver_jax.byte_array import ByteArray
from perceiver_jax.encoder import Encoder
from perceiver_jax.layers import Linear
from perceiver_jax.models.classifier import PerceiverClassifier
from perceiver_jax.portability import plain_forms
from perceiver_jax.position_encoding import FourierPositions
from perceiver_jax.preprocessors import Pixels
from perceiver_jax.transformer import LatentBlock, SelfAttend


def spec(*shape):
  return jax.ShapeDtypeStruct(shape, jnp.float32)


SQUARE = spec(4, 4)
PRODUCT = 2 * 4**3  # Of two of them.


def square(x):
  """One product, in the part 'square'."""
  with jax.named_scope('square'):
    return x @ x


def count_module(function, *inputs):
  """Operations of a function that calls Haiku modules."""
  model = hk.transform(function)
  params = jax.eval_shape(model.init, jax.random.key(0), *inputs)
  return count_operations(
    lambda params, *inputs: model.apply(params, None, *inputs), params, *inputs
  )


# Products and convolutions.


def test_a_matrix_product_is_two_operations_an_element():
  assert count_operations(jnp.matmul, spec(3, 5), spec(5, 7)) == {
    '': 2 * 3 * 5 * 7
  }


def test_batch_and_several_contracted_axes():
  count = count_operations(
    functools.partial(jnp.einsum, 'bnhd,bmhd->bnm'),
    spec(2, 3, 5, 7),
    spec(2, 4, 5, 7),
  )
  # The subscripts, by which einsum calls its products, are not a part.
  assert count == {'': 2 * (2 * 3 * 4) * (5 * 7)}


def test_nothing_is_counted_element_by_element():
  def function(x):
    x = jax.nn.softmax(x * x + 1.0) / x.sum()
    return jnp.sort(jax.nn.gelu(x)).cumsum()

  assert count_operations(function, spec(8)) == {}


def test_nothing_is_allocated():
  huge = spec(2**24, 2**24)  # 1 PiB.
  assert count_operations(jnp.matmul, huge, huge) == {'': 2 * 2**72}


@pytest.mark.parametrize(
  ('settings', 'kernel', 'products'),
  [
    ({}, (3, 5, 8, 6), (16 * 20) * (3 * 5) * (8 * 6)),
    ({'window_strides': (2, 4)}, (3, 5, 8, 6), (8 * 5) * (3 * 5) * (8 * 6)),
    ({'rhs_dilation': (2, 1)}, (3, 5, 8, 6), (16 * 20) * (3 * 5) * (8 * 6)),
    ({'feature_group_count': 4}, (3, 5, 2, 12), (16 * 20) * 15 * (2 * 12)),
  ],
)
def test_convolution(settings, kernel, products):
  settings = {'window_strides': (1, 1), 'padding': 'SAME', **settings}
  convolution = functools.partial(
    jax.lax.conv_general_dilated,
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    **settings,
  )
  count = count_operations(convolution, spec(2, 16, 20, 8), spec(*kernel))
  assert count == {'': 2 * 2 * products}


@pytest.mark.parametrize('stride', [1, 2, 4])
def test_transposed_convolution_has_no_products_with_inserted_zeros(stride):
  count = count_module(
    lambda x: hk.Conv2DTranspose(6, 4, stride, with_bias=False, name='up')(x),
    spec(2, 16, 20, 8),
  )
  # Each input is multiplied with the whole kernel.
  assert count == {'up': 2 * 2 * (16 * 20) * (4 * 4) * (8 * 6)}


# What holds other code.


def repeated_by_scan(x):
  return jax.lax.scan(lambda x, _: (square(x), None), x, None, length=5)[0]


def repeated_by_loop(x):
  return jax.lax.fori_loop(0, 5, lambda _, x: square(x), x)


def repeated_twice_over(x):
  return jax.lax.fori_loop(0, 3, lambda _, x: repeated_by_scan(x), x)


@jax.custom_vjp
def with_own_gradient(x):
  return square(x)


with_own_gradient.defvjp(lambda x: (square(x), ()), lambda _, g: (g,))


@jax.custom_jvp
def with_own_tangent(x):
  return square(x)


with_own_tangent.defjvp(lambda xs, ts: (square(*xs), *ts))


@pytest.mark.parametrize(
  ('function', 'times'),
  [
    (square, 1),
    (jax.jit(jax.jit(square)), 1),
    (jax.checkpoint(square), 1),
    (with_own_gradient, 1),
    (with_own_tangent, 1),
    (repeated_by_scan, 5),
    (repeated_by_loop, 5),
    (repeated_twice_over, 15),
  ],
)
def test_parts_and_repeats_are_found_inside(function, times):
  def outside(x):
    with jax.named_scope('outer'):
      return function(x)

  assert count_operations(outside, SQUARE) == {'outer/square': times * PRODUCT}


def test_vmap_leaves_the_parts_as_they_are():
  count = count_operations(jax.vmap(square), spec(3, 4, 4))
  assert count == {'square': 3 * PRODUCT}


def test_of_branches_the_longer_is_counted():
  def function(i, x):
    return jax.lax.switch(i, [lambda x: x, repeated_by_scan, square], x)

  index = jax.ShapeDtypeStruct((), jnp.int32)
  assert count_operations(function, index, SQUARE) == {'square': 5 * PRODUCT}


def test_a_loop_of_unknown_length_is_an_error():
  def function(x):
    with jax.named_scope('outer'):
      return jax.lax.while_loop(lambda x: x[0, 0] < 1.0, square, x)

  with pytest.raises(ValueError, match=r"inside a 'while' in 'outer': how oft"):
    count_operations(function, SQUARE)


def test_a_loop_without_products_may_have_any_length():
  def function(x):
    return square(jax.lax.while_loop(lambda x: x[0, 0] < 1.0, jnp.exp, x))

  assert count_operations(function, SQUARE) == {'square': PRODUCT}


def test_every_device_of_a_mapped_function_counts():
  # Later releases of jax take axes for explicit ones where nothing is said.
  mesh = jax.sharding.AbstractMesh(
    (3,), ('devices',), axis_types=(jax.sharding.AxisType.Auto,)
  )
  part = jax.sharding.PartitionSpec('devices')
  mapped = jax.shard_map(
    lambda x, y: x @ y,
    mesh=mesh,
    in_specs=(part, jax.sharding.PartitionSpec()),
    out_specs=part,
  )
  # Each has two of the six rows.
  count = count_operations(mapped, spec(6, 5), spec(5, 7))
  assert sum(count.values()) == 2 * 6 * 5 * 7


def test_a_kernel_says_itself_what_it_does():
  def kernel(x_ref, y_ref):
    y_ref[...] = x_ref[...] @ x_ref[...]

  def call(x, estimate=None):
    return pl.pallas_call(
      kernel, jax.ShapeDtypeStruct((8, 8), x.dtype), cost_estimate=estimate
    )(x)

  x = jnp.ones((8, 8))
  estimate = pl.CostEstimate(flops=1024, transcendentals=0, bytes_accessed=512)
  estimated = functools.partial(call, estimate=estimate)
  assert count_operations(estimated, x) == {'': 1024}
  with pytest.raises(ValueError, match="inside a 'pallas_call'"):
    count_operations(call, x)


def test_products_of_a_gradient_belong_to_the_parts_of_the_forward_pass():
  def loss(x):
    x = repeated_by_scan(x)
    with jax.named_scope('last'):
      return (jnp.ones_like(x) @ x).sum()

  count = count_operations(jax.grad(loss), SQUARE)
  # Besides the product itself: x @ x has two operands to differentiate by,
  # ones @ x has one.
  assert count == {'square': 5 * 3 * PRODUCT, 'last': 2 * PRODUCT}


# Modules.


def self_attend_operations(num_latents, channels):
  """Of one layer, for one example: attention with its output, MLP."""
  linear = 2 * num_latents * channels**2
  return {
    'attention': 3 * linear + 4 * num_latents**2 * channels,
    'attention/output': linear,
    'mlp/hidden': linear,
    'mlp/output': linear,
  }


def test_linear():
  count = count_module(
    lambda x: Linear(output_channels=7, name='layer')(x), spec(2, 3, 5)
  )
  assert count == {'layer': 2 * 2 * 3 * 5 * 7}


def test_self_attend():
  # As in the papers: the other form sums weights by a product with ones.
  with plain_forms():
    count = count_module(
      lambda x: SelfAttend(num_heads=2, name='layer')(x, is_training=False),
      spec(3, 6, 8),
    )
  assert count == {
    f'layer/{part}': 3 * operations
    for part, operations in self_attend_operations(6, 8).items()
  }


def test_stacked_and_repeated_layers_count_as_often_as_they_run():
  def function(x):
    block = LatentBlock(num_layers=4, num_heads=2, name='block')
    if hk.running_init():
      return block(x, is_training=False)
    return hk.scan(
      lambda x, _: (block(x, is_training=False), None), x, None, length=3
    )[0]

  with plain_forms():
    count = count_module(function, spec(1, 6, 8))
  assert count == {
    f'block/self_attend/{part}': 3 * 4 * operations
    for part, operations in self_attend_operations(6, 8).items()
  }


def imagenet_operations(cross_attends):
  """Of the first paper's model and one image."""

  def function(images):
    return PerceiverClassifier(
      preprocessor=Pixels(
        positions=FourierPositions(num_bands=64, max_resolution=(224, 224))
      ),
      encoder=Encoder(
        num_latents=512,
        latent_channels=1024,
        cross_attends=cross_attends,
        self_attends_per_block=6,
        name='encoder',
      ),
      num_classes=1000,
    )(images, is_training=True)

  with plain_forms():
    return count_module(function, spec(1, 224, 224, 3))


@pytest.mark.parametrize(
  ('cross_attends', 'expected'),
  [((1,) * 8, 707.2e9), ((1, *(0,) * 7), 404.3e9)],
)
def test_the_papers_imagenet_model(cross_attends, expected):
  # Perceiver, tables 1 and 5; there a multiplication and addition is two too.
  operations = imagenet_operations(cross_attends)
  assert sum(operations.values()) == pytest.approx(expected, rel=2e-3)
  parts = sum_parts(operations, 3)
  encoder = 'perceiver_classifier/encoder'
  assert parts[f'{encoder}/latent_block_0'] == 48 * sum(
    self_attend_operations(512, 1024).values()
  )
  # The first cross-attend has parameters of its own, the others share theirs.
  first = parts[f'{encoder}/cross_attend_0']
  assert first == pytest.approx(43.2e9, rel=2e-3)
  others = sum(cross_attends) - 1
  assert parts.get(f'{encoder}/cross_attend_1', 0) == others * first


def test_what_is_counted_is_what_the_open_context_says():
  squares = contextvars.ContextVar('squares', default=False)

  def function(x):
    return square(x) if squares.get() else x

  assert count_operations(function, SQUARE) == {}
  token = squares.set(True)
  assert count_operations(function, SQUARE) == {'square': PRODUCT}
  squares.reset(token)
  assert count_operations(function, SQUARE) == {}


# Sums.


def test_sum_parts():
  operations = {'a/b/c': 1, 'a': 2, 'a/b': 4, 'a/d': 8, 'e/b': 16, '': 32}
  assert sum_parts(operations, 1) == {'a': 15, 'e': 16, '': 32}
  assert sum_parts(operations, 2) == {
    'a/b': 5,
    'a': 2,
    'a/d': 8,
    'e/b': 16,
    '': 32,
  }
  assert sum_parts(operations, 9) == operations


def test_cross_attends_that_share_weights_project_their_inputs_once():
  num_inputs, channels = 32, 8

  def operations(**settings):
    def encode(inputs):
      return Encoder(
        num_latents=6,
        latent_channels=16,
        cross_attends=(1, 1, 1),
        self_attends_per_block=1,
        cross_attend_heads=4,
        **settings,
      )(ByteArray(inputs), is_training=True)

    count = count_module(encode, spec(1, num_inputs, channels))
    return sum(count.values())

  # The second and the third share weights: keys and values of one are saved.
  saved = 2 * num_inputs * channels * 2 * channels
  apart = operations(share_cross_attends=False)
  assert apart - operations() == saved
  with plain_forms():  # As in the papers.
    assert operations() == operations(share_cross_attends=False)
