"""Latent attention's kernels, compiled for TPUs that are not here."""

import functools
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import SingleDeviceSharding

from perceiver_jax.kernels.latent_attention import attend, takes
from perceiver_jax.portability import traced_for
from tests.aot.schedules import Schedule
from tests.aot.test_kernels import GENERATIONS, device

# N, H, Dk, Dv: latents of ImageNet, of the language model, of flow.
SHAPES = {
  'imagenet': (512, 8, 128, 128),
  'language': (256, 8, 32, 160),
  'flow': (2048, 16, 32, 32),
}


def lower_attend(attend, generation, shape, dtype=jnp.bfloat16, masked=False):
  """Lowers all gradients of 8 examples, in the layout of projections."""
  num_latents, num_heads, qk_channels, v_channels = shape
  on = SingleDeviceSharding(device(generation))
  struct = functools.partial(jax.ShapeDtypeStruct, sharding=on)
  qk = struct((8, num_latents, num_heads * qk_channels), dtype)
  v = struct((8, num_latents, num_heads * v_channels), dtype)
  mask = [struct((8, num_latents), bool)] if masked else []

  def loss(query, key, value, *mask):
    heads = (
      x.reshape(8, num_latents, num_heads, -1) for x in (query, key, value)
    )
    return jnp.square(attend(*heads, *mask).astype(jnp.float32)).sum()

  with traced_for(device(generation)):
    return jax.jit(jax.value_and_grad(loss, (0, 1, 2))).lower(qk, qk, v, *mask)


@pytest.mark.parametrize('generation', list(GENERATIONS))
@pytest.mark.parametrize('name', list(SHAPES))
@pytest.mark.parametrize('masked', [False, True])
def test_all_gradients_compile(generation, name, masked):
  num_latents, num_heads, qk_channels, v_channels = SHAPES[name]
  qk = jax.ShapeDtypeStruct(
    (8, num_latents, num_heads, qk_channels), jnp.bfloat16
  )
  v = jax.ShapeDtypeStruct(
    (8, num_latents, num_heads, v_channels), jnp.bfloat16
  )
  with traced_for(device(generation)):
    assert takes(qk, qk, v)
  program = lower_attend(attend, generation, SHAPES[name], masked=masked)
  text = program.compile().as_text()
  calls = [line for line in text.splitlines() if 'tpu_custom_call' in line]
  assert len(calls) == 2
  assert 'latent_attention_forward' in calls[0]
  assert 'latent_attention_backward' in calls[1]
  # Scores are written nowhere.
  assert f'[8,{num_heads},{num_latents},{num_latents}]' not in text


@pytest.mark.parametrize('generation', list(GENERATIONS))
def test_float32_compiles(generation):
  shape = SHAPES['imagenet']
  text = (
    lower_attend(attend, generation, shape, jnp.float32).compile().as_text()
  )
  assert text.count('custom_call_target="tpu_custom_call"') == 2


@pytest.mark.parametrize('generation', list(GENERATIONS))
def test_value_and_gradient_take_less_than_with_splash_attention(generation):
  result = subprocess.run(
    [sys.executable, '-m', 'tests.aot.schedules', generation, 'latent'],
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 0, result.stderr
  ours, splash = json.loads(result.stdout.splitlines()[-1])
  # Splash attention wants heads outside: its transposes are XLA's, and with
  # them it takes twice as long or more.
  assert cycles(ours) < 0.6 * cycles(splash)
  # Its kernels alone have about as many bundles.
  assert bundles(ours) < 1.15 * bundles(splash)


def bundles(compiled):
  schedules = [Schedule(*numbers) for numbers in compiled['kernels']]
  assert len(schedules) == 2
  return sum((each.every + each.some) * each.steps for each in schedules)


def cycles(compiled):
  return bundles(compiled) + compiled['rest']
