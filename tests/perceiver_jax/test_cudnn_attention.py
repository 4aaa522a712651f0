"""What cuDNN is given, and that the numbers are those of the plain form.

There is no cuDNN on these machines: XLA computes in its place, after refusing
what jax refuses.
"""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.attention_forms import KeysValues, attend
from perceiver_jax.cudnn_attention import cudnn_attention, cudnn_takes
from perceiver_jax.dot_product import dot_product_attention
from perceiver_jax.portability import traced_for


def gpu(capability='9.0'):
  return types.SimpleNamespace(platform='gpu', compute_capability=capability)


def normal(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def heads(dtype=jnp.bfloat16, qk=16, v=16, queries=6, inputs=8):
  return (
    normal(0, 3, queries, 2, qk).astype(dtype),
    normal(1, 3, inputs, 2, qk).astype(dtype),
    normal(2, 3, inputs, 2, v).astype(dtype),
  )


# Of three examples, the second has padding, the third nothing else.
MASK = jnp.array([[True] * 8, [True, False] * 4, [False] * 8])


@pytest.fixture
def calls(monkeypatch):
  """The widths that cuDNN was given, by a jax that takes what jax 0.10 takes.

  That is half precision, one width of a multiple of eight, even lengths.
  """
  compute, widths = jax.nn.dot_product_attention, []

  def fused(query, key, value, *, scale, implementation):
    assert implementation == 'cudnn'
    width = query.shape[-1]
    assert width % 8 == 0 and key.shape == value.shape
    assert query.dtype in (jnp.bfloat16, jnp.float16)
    if query.shape[1] % 2 or key.shape[1] % 2:
      raise NotImplementedError('Unsupported sequence length')
    widths.append(width)
    # In float32: XLA's CPU backend has no products of float16.
    wide = (x.astype(jnp.float32) for x in (query, key, value))
    return compute(*wide, scale=scale, implementation='xla').astype(query.dtype)

  monkeypatch.setattr(jax.nn, 'dot_product_attention', fused)
  return widths


@pytest.mark.parametrize(
  ('shapes', 'masked', 'width'),
  [
    ({}, False, 16),
    # The channel of the mask starts another eight.
    ({}, True, 24),
    ({'qk': 12, 'v': 12}, False, 16),
    ({'qk': 12, 'v': 12}, True, 16),
    ({'qk': 32, 'v': 160}, True, 160),
    ({'qk': 40, 'v': 24}, False, 40),
    ({'qk': 256, 'v': 256}, False, 256),
    ({'dtype': jnp.float16}, True, 24),
  ],
)
def test_values_and_gradients_are_those_of_the_plain_form(
  shapes, masked, width, calls
):
  arguments, mask = heads(**shapes), MASK if masked else None

  def results(attend, arguments):
    def loss(*arguments):
      attended = attend(*arguments)
      cotangent = normal(3, *attended.shape)
      return (attended.astype(jnp.float32) * cotangent).sum(), attended

    gradient = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))
    return gradient(*arguments)

  expected = results(
    lambda *x: dot_product_attention(*x, mask=mask),
    [x.astype(jnp.float32) for x in arguments],
  )
  actual = results(lambda *x: cudnn_attention(*x, mask), arguments)
  assert set(calls) == {width}
  for x, y in zip(*map(jax.tree.leaves, (actual, expected)), strict=True):
    assert x.dtype == arguments[0].dtype and x.shape == y.shape
    np.testing.assert_allclose(
      x.astype(jnp.float32), y, atol=0.02 * np.abs(y).max()
    )
    if masked:
      # Nothing at all for the example without any input.
      np.testing.assert_array_equal(x[2].astype(jnp.float32), 0.0)
  if masked:
    _, key_bar, value_bar = actual[0]
    for x in (key_bar, value_bar):
      np.testing.assert_array_equal(x[1, 1::2].astype(jnp.float32), 0.0)


@pytest.mark.parametrize(
  ('shapes', 'masked', 'capability', 'taken'),
  [
    ({}, False, '9.0', True),
    ({}, True, '9.0', True),
    ({'qk': 256, 'v': 256}, False, '9.0', True),
    ({'qk': 256, 'v': 256}, True, '9.0', False),
    ({'qk': 64, 'v': 264}, False, '9.0', False),
    # Before Hopper, and after it, 128 channels.
    ({'qk': 128, 'v': 128}, False, '8.0', True),
    ({'qk': 128, 'v': 128}, True, '8.0', False),
    ({'qk': 127, 'v': 128}, True, '10.0', True),
    ({'qk': 136, 'v': 8}, False, '10.0', False),
    ({}, False, '7.5', False),
    # A GPU of another maker.
    ({}, False, 'gfx90a', False),
    ({'dtype': jnp.float32}, False, '9.0', False),
    # What only this jax knows.
    ({'queries': 5}, False, '9.0', False),
    ({'inputs': 7}, False, '9.0', False),
  ],
)
def test_what_is_taken(shapes, masked, capability, taken, calls):
  query, key, value = heads(**shapes)
  mask = MASK if masked else None
  with traced_for(gpu(capability)):
    assert cudnn_takes(query, key, value, mask) == taken


def test_only_gpus_that_are_traced_for_have_it(calls, monkeypatch):
  arguments = (*heads(), None)
  assert not cudnn_takes(*arguments)
  monkeypatch.setattr(jax, 'devices', lambda: [gpu()])
  assert cudnn_takes(*arguments)
  with traced_for(None):
    assert not cudnn_takes(*arguments)


def test_where_this_process_has_no_cudnn_another_form_is_taken():
  query, key, value = heads()
  with traced_for(gpu()):
    assert not cudnn_takes(query, key, value, None)
    attended = attend(query, KeysValues(key, value, None))
  expected = dot_product_attention(query, key, value).reshape(3, 6, -1)
  np.testing.assert_allclose(
    *(x.astype(jnp.float32) for x in (attended, expected)), atol=0.03
  )


@pytest.mark.parametrize('mask', [None, MASK])
def test_attention_goes_to_cudnn(mask, calls):
  query, key, value = heads(qk=16, v=24)
  with traced_for(gpu()):
    # One query for all examples.
    attended = attend(query[:1], KeysValues(key, value, mask))
  assert calls
  wide = [x.astype(jnp.float32) for x in (query[:1].repeat(3, 0), key, value)]
  expected = dot_product_attention(*wide, mask=mask).reshape(3, 6, -1)
  np.testing.assert_allclose(attended.astype(jnp.float32), expected, atol=0.03)
