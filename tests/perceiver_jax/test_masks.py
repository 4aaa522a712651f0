"""Masks of padding, of queries and of heads, in every form, against NumPy."""

import warnings

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax import attention_forms, recomputed_attention
from perceiver_jax.attention import Attention
from perceiver_jax.attention_forms import KeysValues, attend
from perceiver_jax.byte_array import ByteArray
from perceiver_jax.dot_product import dot_product_attention
from perceiver_jax.kernels import absorbed_attention, latent_attention
from perceiver_jax.masks import causal_mask
from perceiver_jax.transformer import CrossAttend
from tests.perceiver_jax import in_numpy

B, N, M, H, D = 2, 5, 7, 3, 4


def normal(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape)


def drawn(*shape):
  """Half of it True; a query that sees nothing, another that sees all."""
  mask = np.random.default_rng(9).random(shape) < 0.5
  if len(shape) > 2:
    mask[..., 0, :], mask[..., 1, :] = False, True
  return mask


MASKS = {
  'padding': drawn(B, M),
  'queries': drawn(B, N, M),
  'queries, all examples': drawn(1, N, M),
  'heads': drawn(B, H, N, M),
  'heads, all examples': drawn(1, H, N, M),
  'one for all heads': drawn(B, 1, N, M),
}
masks = pytest.mark.parametrize('name', list(MASKS))


def test_causal_masks():
  np.testing.assert_array_equal(
    causal_mask(3)[0], [[True, False, False], [True, True, False], [True] * 3]
  )
  np.testing.assert_array_equal(
    causal_mask(2, 4)[0], [[True, True, True, False], [True] * 4]
  )
  with pytest.raises(ValueError, match='got 4 queries and 3 inputs'):
    causal_mask(4, 3)


# Chunks of two queries, and a rest; all at once.
@pytest.mark.parametrize('most_scores', [B * H * M * 2, 2**26])
@masks
def test_forms_with_keys_and_values(name, most_scores, monkeypatch):
  monkeypatch.setattr(recomputed_attention, '_MOST_SCORES', most_scores)
  heads = (normal(0, B, N, H, D), normal(1, B, M, H, D), normal(2, B, M, H, 6))
  cotangent = normal(3, B, N, H, 6)
  expected = in_numpy.attend(*heads, MASKS[name])
  with jax.enable_x64(True):
    mask = jnp.asarray(MASKS[name])
    gradients = []
    for form in (
      dot_product_attention,
      recomputed_attention.recomputed_attention,
    ):
      attended, pull = jax.vjp(
        lambda *heads, form=form: form(*heads, mask=mask),
        *map(jnp.asarray, heads),
      )
      np.testing.assert_allclose(attended, expected, rtol=1e-9, atol=1e-12)
      gradients.append(pull(jnp.asarray(cotangent)))
    jax.tree.map(
      lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12),
      *gradients,
    )


def attention(**settings):
  module = lambda *args, **kwargs: Attention(**settings)(*args, **kwargs)  # noqa: E731
  return hk.without_apply_rng(hk.transform(module))


@pytest.mark.parametrize('heads', [1, H])
@masks
def test_the_module_with_arrays(name, heads):
  mask = MASKS[name]
  if mask.ndim == 4:
    mask = mask[:, :heads]
  queries, inputs = normal(0, B, N, 6), normal(1, B, M, 12)
  module = attention(num_heads=heads)
  with jax.enable_x64(True):
    params = module.init(jax.random.key(0), queries, inputs)
    result = module.apply(params, queries, inputs, mask=jnp.asarray(mask))
    expected = in_numpy.attention(
      params, 'attention', queries, inputs, heads=heads, mask=mask
    )
  np.testing.assert_allclose(result, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize('name', ['queries', 'queries, all examples'])
@pytest.mark.parametrize('chunk', [3, 7])
def test_a_single_head_that_leaves_inputs_as_they_are(name, chunk, monkeypatch):
  """Together with padding, in chunks, gradients of everything."""
  monkeypatch.setattr(attention_forms, 'chunk_size', lambda *_: chunk)
  padding, mask = np.arange(M)[None] < np.array([[M], [4]]), MASKS[name]
  queries, features = normal(0, B, N, 6), normal(1, B, M, 40)
  cotangent = normal(2, B, N, 6)

  def cross_attend(queries, features, **settings):
    byte_array = ByteArray(features, mask=jnp.asarray(padding))
    return CrossAttend(**settings)(
      queries, byte_array, is_training=True, mask=jnp.asarray(mask)
    )

  with jax.enable_x64(True):
    # Dropout so low that nothing is dropped is not absorbed.
    absorbed, projected = (
      hk.transform(lambda *args, rate=rate: cross_attend(*args, **rate))
      for rate in ({}, {'dropout_rate': 1e-9})
    )
    params = absorbed.init(jax.random.key(0), queries, features)
    results = []
    for module in (absorbed, projected):
      result, pull = jax.vjp(
        lambda *args, m=module: m.apply(args[0], jax.random.key(1), *args[1:]),
        params,
        jnp.asarray(queries),
        jnp.asarray(features),
      )
      results.append((result, pull(jnp.asarray(cotangent))))
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-8),
    *results,
  )
  expected = in_numpy.cross_attend(
    params,
    'cross_attend',
    queries,
    np.where(padding[..., None], features, 0),
    heads=1,
    mask=padding[:, None] & mask,
  )
  np.testing.assert_allclose(results[0][0], expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
  'mask',
  [
    drawn(B, M + 1),
    drawn(B, M, N),
    drawn(B, 2, N, M),
    drawn(B, N, M).astype(np.float32),
    drawn(M),
  ],
)
def test_masks_that_do_not_fit(mask):
  heads = (normal(0, B, N, H, D), normal(1, B, M, H, D), normal(2, B, M, H, D))
  expected = r'mask must be bool \[B, M\].* B = 2, H = 3, N = 5, M = 7.*got '
  with pytest.raises(ValueError, match=expected):
    dot_product_attention(*heads, mask=jnp.asarray(mask))
  module = attention(num_heads=H)
  queries, inputs = normal(0, B, N, 6), normal(1, B, M, 12)
  with pytest.raises(ValueError, match=expected):
    jax.eval_shape(
      lambda: module.init(
        jax.random.key(0), queries, inputs, mask=jnp.asarray(mask)
      )
    )


def test_kernels_leave_masks_of_queries_to_others_and_say_so(monkeypatch):
  monkeypatch.setattr(latent_attention, 'takes', lambda *_: True)
  monkeypatch.setattr(latent_attention, 'attend', lambda q, *_: 0 * q)
  heads = [jnp.asarray(normal(i, B, N, H, D)) for i in range(3)]
  causal = causal_mask(N)
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    assert not attend(heads[0], KeysValues(*heads[1:], None)).any()
  with pytest.warns(UserWarning, match='that differs among queries'):
    attended = attend(heads[0], KeysValues(*heads[1:], causal))
  np.testing.assert_allclose(
    attended.reshape(B, N, H, D),
    in_numpy.attend(*map(np.float64, heads), np.asarray(causal)),
    atol=1e-5,
  )


def test_the_kernel_of_raw_inputs_leaves_them_too(monkeypatch):
  monkeypatch.setattr(absorbed_attention, 'takes', lambda *_: True)
  monkeypatch.setattr(absorbed_attention, 'attend', None)
  queries, features = normal(0, B, N, 6), normal(1, B, M, 40)
  module = hk.without_apply_rng(
    hk.transform(
      lambda x, y: CrossAttend()(
        x, y, is_training=False, mask=causal_mask(N, M)
      )
    )
  )
  with pytest.warns(UserWarning, match='that differs among queries'):
    params = module.init(jax.random.key(0), queries, features)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    result = module.apply(params, queries, features)
  expected = in_numpy.cross_attend(
    params,
    'cross_attend',
    queries,
    features,
    heads=1,
    mask=np.asarray(causal_mask(N, M)),
  )
  np.testing.assert_allclose(result, expected, atol=1e-4)
