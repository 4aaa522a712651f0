"""Attention through the compiler for an H100, which is not there.

XLA gives cuDNN's attention to cuDNN only on the GPU itself: that these programs
compile does not say that cuDNN takes them. What it takes is written down in
cudnn_attention.py.
"""

import re

import jax
import jax.numpy as jnp
import pytest
from jax._src.cudnn import fused_attention_stablehlo
from jax.sharding import SingleDeviceSharding

from perceiver_jax.absorbed_attention import (
  NormalizedByteArray,
  Unprojected,
  absorbed_attention,
  inverse_stddev,
)
from perceiver_jax.attention_forms import KeysValues, attend
from perceiver_jax.byte_array import ByteArray
from perceiver_jax.cudnn_attention import cudnn_takes
from perceiver_jax.input_chunks import chunk_size
from perceiver_jax.portability import traced_for
from perceiver_jax.position_encoding import FourierPositions, GridPositions

pytestmark = pytest.mark.parametrize('topology', ['h100:1'], indirect=True)


@pytest.fixture
def h100(topology):
  return topology.devices()[0]


@pytest.fixture
def cudnn_here(monkeypatch):
  """jax asks this machine for its GPU, and for the version of its cuDNN."""
  for name, answer in (
    ('check_cudnn_version', lambda: 91_200),
    ('check_compute_capability', lambda least: True),
    ('is_cuda_compute_capability_equal', lambda capability: False),
  ):
    monkeypatch.setattr(fused_attention_stablehlo, name, answer)


def compiled(device, function, *shapes):
  """The optimised program, traced anew and for the device."""
  sharding = SingleDeviceSharding(device)
  specs = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes
  )
  with traced_for(device):
    return jax.jit(lambda *x: function(*x)).lower(*specs).compile()


def array(dtype, *shape):
  return jax.ShapeDtypeStruct(shape, dtype)


def heads(batch, queries, inputs, qk, v, masked):
  """Of 8 heads, as `attend` takes them."""
  return (
    array(jnp.bfloat16, batch, queries, 8, qk),
    array(jnp.bfloat16, batch, inputs, 8, qk),
    array(jnp.bfloat16, batch, inputs, 8, v),
    array(bool, batch, inputs) if masked else None,
  )


def value_and_gradient(query, key, value, mask, cotangent):
  attended, pull_back = jax.vjp(
    lambda q, k, v: attend(q, KeysValues(k, v, mask)), query, key, value
  )
  return attended, pull_back(cotangent)


def compiled_attention(device, arguments):
  query, _, value, _ = arguments
  cotangent = array(
    query.dtype, *query.shape[:2], query.shape[2] * value.shape[-1]
  )
  return compiled(device, value_and_gradient, *arguments, cotangent)


# Batch, queries, inputs, channels of keys and values, masked.
@pytest.mark.parametrize(
  'sizes',
  [
    (64, 512, 512, 128, 128, False),  # ImageNet's latents.
    (64, 256, 256, 32, 160, False),  # The language model's,
    (64, 256, 2048, 32, 160, True),  # its inputs,
    (64, 2048, 256, 32, 96, False),  # and its decoder.
    (8, 64, 64, 256, 256, False),
    (8, 64, 64, 12, 12, True),
  ],
)
def test_cudnn_gets_value_and_gradient(sizes, h100, cudnn_here):
  text = compiled_attention(h100, heads(*sizes)).as_text()
  targets = re.findall(r'custom_call_target="(__cudnn[^"]*)"', text)
  assert targets == ['__cudnn$fmhaSoftmax', '__cudnn$fmhaSoftmaxBackward']
  # What is filled up and cut off is so in passing.
  assert not re.search(r' (copy|transpose)\(', text)
  _, queries, inputs, *_ = sizes
  assert not re.search(rf'f32\[[\d,]*\b{queries},{inputs}\]', text)


@pytest.mark.parametrize('sizes', [(8, 64, 64, 256, 256, True)])
def test_too_wide_for_cudnn_is_another_form(sizes, h100, cudnn_here):
  text = compiled_attention(h100, heads(*sizes)).as_text()
  assert '__cudnn' not in text


def test_without_cudnn_here_another_form_is_compiled(h100):
  with pytest.raises(RuntimeError, match='cuDNN'):
    fused_attention_stablehlo.check_cudnn_version()
  arguments = heads(64, 512, 512, 128, 128, False)
  with traced_for(h100):
    assert not cudnn_takes(*arguments)
  assert '__cudnn' not in compiled_attention(h100, arguments).as_text()


GRID = GridPositions(
  encoding=FourierPositions(num_bands=64, max_resolution=(224, 224)),
  grid_shape=(224, 224),
)
BATCH, INPUTS, QUERIES, CHANNELS = 32, 224 * 224, 512, 261
CHUNK, ROW = 3968, 264


def cross_attend(weights, queries, features):
  """A residual cross-attend of ImageNet's shape."""
  byte_array = ByteArray(features, GRID, None)
  inputs = Unprojected(
    NormalizedByteArray(byte_array, weights['scale'], weights['scale']),
    inverse_stddev(byte_array),
    (weights['key'], weights['scale']),
    (weights['value'], weights['scale']),
  )
  size = chunk_size(BATCH, INPUTS, QUERIES)
  assert size == CHUNK
  return queries + absorbed_attention(queries, inputs, chunk_size=size)


def compiled_gradient(device, function):
  def gradient(weights, queries, features):
    return jax.grad(
      lambda *x: jnp.square(function(*x, features).astype(jnp.float32)).sum(),
      argnums=(0, 1),
    )(weights, queries)

  square = array(jnp.float32, CHANNELS, CHANNELS)
  return compiled(
    device,
    gradient,
    {'scale': array(jnp.float32, CHANNELS), 'key': square, 'value': square},
    array(jnp.bfloat16, BATCH, QUERIES, CHANNELS),
    array(jnp.bfloat16, BATCH, INPUTS, 3),
  )


def test_no_chunk_is_written_out_twice(h100):
  program = compiled_gradient(h100, cross_attend)
  text = program.as_text()
  # The chunk of a loop is made by one kernel in each pass, in the dtype of the
  # products, and is not copied.
  chunk = rf'bf16\[{BATCH},{CHUNK},{ROW}\]\S* '
  assert len(re.findall(rf'= {chunk}fusion\(', text)) == 2
  assert not re.search(rf'= {chunk}(copy|convert|transpose)\(', text)
  assert not re.search(rf'f32\[{BATCH},{CHUNK},\d+\]', text)
  assert f'[{BATCH},{INPUTS},{CHANNELS}]' not in text
  # Less than four arrays of its scores in float32.
  scores = 4 * BATCH * QUERIES * CHUNK
  assert program.memory_analysis().temp_size_in_bytes < 4 * scores


def test_inputs_of_several_cross_attends_are_not_kept_together(h100):
  def several(weights, queries, features):
    def step(queries, _):
      return cross_attend(weights, queries, features), None

    return jax.lax.scan(step, queries, None, length=3)[0]

  text = compiled_gradient(h100, several).as_text()
  assert f'[{INPUTS // CHUNK},{BATCH},{CHUNK},' not in text
