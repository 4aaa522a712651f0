"""Attention traced for any platform, and for batches of any size."""

import re
import types

import jax
import numpy as np
import pytest
from jax import export

from perceiver_jax import recomputed_attention
from perceiver_jax.dot_product import dot_product_attention
from perceiver_jax.portability import (
  may_be_several,
  planned_batch,
  target_platform,
  traced_for,
)


def rng(seed=0):
  return np.random.default_rng(seed)


def normal(seed, *shape):
  return rng(seed).standard_normal(shape).astype(np.float32)


def for_any_batch(function, *arguments):
  """The function, traced once for arguments `[batch, ...]`."""
  (batch,) = export.symbolic_shape('batch')
  shapes = [
    jax.ShapeDtypeStruct((batch, *x.shape[1:]), x.dtype) for x in arguments
  ]
  with traced_for(None):
    return export.export(jax.jit(function))(*shapes).call


def test_a_batch_that_is_not_known_is_planned_as_one_example():
  assert planned_batch(64) == 64
  (batch,) = export.symbolic_shape('batch')
  assert planned_batch(batch) == 1


def test_a_batch_that_is_not_known_may_be_of_several_examples():
  (batch,) = export.symbolic_shape('batch')
  assert [may_be_several(size) for size in (1, 2, batch)] == [False, True, True]


def gpu():
  return types.SimpleNamespace(platform='gpu')


def test_what_is_traced_for_devices_elsewhere_is_theirs():
  assert target_platform() == 'cpu'
  with traced_for(gpu()):
    assert target_platform() == 'gpu'
  with traced_for(None):
    assert target_platform() is None
  assert target_platform() == 'cpu'


@pytest.mark.parametrize('batch', [1, 3])
def test_many_queries_attend_in_chunks_in_any_batch(batch, monkeypatch):
  # Chunks of 2 queries and a rest of 1, for one example.
  monkeypatch.setattr(recomputed_attention, '_MOST_SCORES', 2 * 2 * 7)
  query, key, value = (
    normal(i, batch, m, 2, 4) for i, m in enumerate((5, 7, 7))
  )
  mask = rng(3).random((batch, 7)) < 0.7
  attend = recomputed_attention.recomputed_attention
  np.testing.assert_allclose(
    for_any_batch(attend, query, key, value, mask)(query, key, value, mask),
    dot_product_attention(query, key, value, mask=mask),
    atol=1e-6,
  )


def test_gpus_attend_in_chunks_of_more_queries():
  shapes = (
    jax.ShapeDtypeStruct((1, m, 1, 8), np.float32) for m in (2**18, 2048, 2048)
  )
  query, key, value = shapes

  def chunks():
    attend = recomputed_attention.recomputed_attention
    jaxpr = str(jax.make_jaxpr(lambda *x: attend(*x))(query, key, value))
    return [int(n) for n in re.findall(r'length=(\d+)', jaxpr)]

  # 2 ** 26 and 2 ** 28 scores.
  assert chunks() == [8]
  with traced_for(gpu()):
    assert chunks() == [2]
