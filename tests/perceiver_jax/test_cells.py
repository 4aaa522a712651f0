"""Cells of a table as inputs of a model."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

import perceiver_jax as pj


def applied(make, raw):
  transformed = hk.without_apply_rng(
    hk.transform(lambda raw: make()(raw, is_training=True))
  )
  params = transformed.init(jax.random.key(0), raw)
  made = transformed.apply(params, raw)
  return jax.tree.map(np.asarray, (params, made))


def test_features_go_through_a_linear_layer():
  features = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
  params, made = applied(lambda: pj.CellFeatures(num_channels=16), features)
  own = params['cell_features']
  assert made.features.shape == (5, 1, 16)
  assert made.positions is made.mask is None
  expected = features.astype(np.float64) @ own['w'] + own['column']
  np.testing.assert_allclose(made.features[:, 0], expected, atol=1e-5)


def test_an_index_is_a_vector_beside_that_of_the_column():
  indices = jnp.array([2, 0, 2])
  params, made = applied(
    lambda: pj.CellEmbedding(num_rows=3, num_channels=16), indices
  )
  own = params['cell_embedding']
  expected = own['embeddings'][indices] + own['column']
  np.testing.assert_allclose(made.features[:, 0], expected, atol=1e-6)


def test_an_index_out_of_range_is_nan():
  _, made = applied(
    lambda: pj.CellEmbedding(num_rows=3, num_channels=4), jnp.array([0, 3])
  )
  assert np.isnan(made.features).all(axis=(1, 2)).tolist() == [False, True]


def test_shares_of_a_list_are_the_mean_of_the_vectors_of_its_names():
  shares = np.array([[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]], np.float32)
  params, made = applied(lambda: pj.CellFeatures(num_channels=8), shares)
  w, column = params['cell_features']['w'], params['cell_features']['column']
  expected = np.stack([(w[0] + w[2]) / 2, w[1]]) + column
  np.testing.assert_allclose(made.features[:, 0], expected, atol=1e-6)


def test_what_a_cell_says_and_its_column_begin_alike():
  _, one = applied(
    lambda: pj.CellFeatures(num_channels=256), np.eye(4, dtype=np.float32)
  )
  params, _ = applied(
    lambda: pj.CellFeatures(num_channels=256), np.zeros((1, 900), np.float32)
  )
  own = params['cell_features']
  # Of a truncated normal distribution.
  np.testing.assert_allclose(own['w'].std(), 1 / 16, rtol=0.15)
  np.testing.assert_allclose(own['column'].std(), 1 / 16, rtol=0.25)
  np.testing.assert_allclose(one.features.std(), 2**0.5 / 16, rtol=0.25)
