"""Packing of modalities, and streams and elements that are left out."""

import functools

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.byte_array import ByteArray
from perceiver_jax.multimodal import (
  ModalityPacking,
  Multimodal,
  check_modalities,
  pack_masks,
  unpack,
)
from perceiver_jax.position_encoding import FourierPositions
from perceiver_jax.preprocessors import AudioPatches, OneHot, Pixels

POSITIONS = FourierPositions(num_bands=1, max_resolution=(4,))
# Widths: sound 2 + 3 positions, video 3 + 3, word 4: common width 6 + 2.
WIDTHS = {'sound': 5, 'video': 6, 'word': 4}
SIZES = {'sound': 3, 'video': 5, 'word': 1}
WIDTH = 8


def normal(seed, *shape):
  return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def raw(batch=2):
  return {
    'video': normal(0, batch, 5, 3),
    'word': jnp.arange(batch) % 4,
    'sound': normal(1, batch, 6),
  }


def preprocessors():
  """In no order."""
  return {
    'video': Pixels(positions=POSITIONS),
    'word': OneHot(num_classes=4),
    'sound': AudioPatches(samples_per_patch=2, positions=POSITIONS),
  }


PADDING = {
  f'{name}_padding': normal(i, WIDTH - width)
  for i, (name, width) in enumerate(WIDTHS.items())
}
MASK_VECTORS = {
  f'{name}_mask': normal(10 + i, WIDTH) for i, name in enumerate(WIDTHS)
}


@functools.cache
def multimodal(is_training, rates=(), **settings):
  """Jitted function of key and raw inputs that returns a byte array."""
  masked = dict(rates)
  params = {'multimodal/packing': PADDING}
  if masked:
    params['multimodal'] = {
      f'{n}_mask': MASK_VECTORS[f'{n}_mask'] for n in masked
    }

  def forward(raw):
    return Multimodal(
      preprocessors=preprocessors(),
      min_padding=2,
      mask_rates=dict(rates),
      **{k: dict(v) if k == 'drop_rates' else v for k, v in settings.items()},
    )(raw, is_training=is_training)

  model = hk.transform(forward)
  return jax.jit(lambda key, raw: model.apply(params, key, raw))


def expected_elements(raw):
  """Each modality's elements by hand, `[B, M, width]`."""
  batch = raw['video'].shape[0]

  def placed(features):
    positions = np.asarray(POSITIONS((features.shape[1],)))
    positions = np.broadcast_to(positions, (batch, *positions.shape))
    return np.concatenate([features, positions], axis=-1)

  elements = {
    'sound': placed(raw['sound'].reshape(batch, 3, 2)),
    'video': placed(raw['video']),
    'word': np.eye(4)[np.asarray(raw['word'])][:, None],
  }
  return {
    name: np.concatenate(
      [
        x,
        np.broadcast_to(
          PADDING[f'{name}_padding'], (*x.shape[:2], WIDTH - x.shape[2])
        ),
      ],
      axis=-1,
    )
    for name, x in elements.items()
  }


def test_packing_appends_a_vector_of_the_modality_up_to_a_common_width():
  arrays = {'b': normal(0, 2, 3, 5), 'a': normal(1, 2, 4, 2)}
  vectors = {'a_padding': normal(2, 6), 'b_padding': normal(3, 3)}
  model = hk.transform(lambda x: ModalityPacking(min_padding=3)(x))
  packed = model.apply({'modality_packing': vectors}, None, arrays)
  assert list(packed) == ['a', 'b']
  for name, x in packed.items():
    width = arrays[name].shape[-1]
    assert x.shape == (*arrays[name].shape[:2], 8)
    np.testing.assert_array_equal(x[..., :width], arrays[name])
    vector = vectors[f'{name}_padding']
    np.testing.assert_array_equal(
      x[..., width:], np.broadcast_to(vector, (*x.shape[:2], vector.size))
    )


def test_vectors_of_modalities_start_small_and_apart():
  arrays = {'b': normal(0, 1, 1, 5), 'a': normal(1, 1, 1, 5)}
  model = hk.transform(lambda x: ModalityPacking(min_padding=100)(x))
  params = model.init(jax.random.key(0), arrays)['modality_packing']
  for vector in params.values():
    np.testing.assert_allclose(vector.std(), 0.02 * 0.88, rtol=0.2)
  assert not np.allclose(params['a_padding'], params['b_padding'])


def test_every_modality_has_a_vector_of_its_own():
  with pytest.raises(
    ValueError, match=r'min_padding must be at least 1.*got 0'
  ):
    hk.testing.transform_and_run(lambda: ModalityPacking(min_padding=0))()


def test_modalities_are_packed_in_alphabetical_order():
  inputs = raw()
  byte_array = multimodal(False)(None, inputs)
  expected = expected_elements(inputs)
  assert list(expected) == sorted(expected)
  np.testing.assert_allclose(
    byte_array.features,
    np.concatenate(list(expected.values()), axis=1),
    rtol=1e-5,
    atol=1e-6,
  )
  assert byte_array.positions is None and byte_array.mask is None


def test_unpack_takes_apart_in_alphabetical_order():
  packed = normal(0, 2, 9, 3)
  parts = unpack(packed, {'video': 5, 'word': 1, 'sound': 3})
  assert list(parts) == ['sound', 'video', 'word']
  np.testing.assert_array_equal(parts['sound'], packed[:, :3])
  np.testing.assert_array_equal(parts['video'], packed[:, 3:8])
  np.testing.assert_array_equal(parts['word'], packed[:, 8:])


def test_unpack_needs_all_elements():
  with pytest.raises(ValueError, match='add up to the 9 elements'):
    unpack(normal(0, 2, 9, 3), {'a': 4, 'b': 4})


def test_masks_are_packed_in_alphabetical_order_all_there_where_none_is():
  mask = np.array([[True, False], [False, False]])
  packed = pack_masks({'b': mask, 'c': None}, {'c': 1, 'b': 2, 'a': 3})
  np.testing.assert_array_equal(
    packed, np.concatenate([np.ones((2, 3)), mask, np.ones((2, 1))], axis=1)
  )
  assert packed.dtype == jnp.bool_


@pytest.mark.parametrize('masks', [None, {}, {'a': None}])
def test_no_mask_at_all_stays_none(masks):
  assert pack_masks(masks, {'a': 2, 'b': 3}) is None


@pytest.mark.parametrize('name', ['a', 'unknown'])
def test_masks_of_another_size(name):
  with pytest.raises(ValueError, match=f"mask of '{name}' has shape"):
    pack_masks({name: np.ones((2, 3), bool)}, {'a': 2, 'b': 3})


def test_masks_of_preprocessors_are_joined():
  mask = np.array([[True, False, True], [True, True, False]])

  def padded(features, *, is_training):
    return ByteArray(features, mask=mask)

  def plain(features, *, is_training):
    return ByteArray(features)

  model = hk.transform(
    lambda x: Multimodal(
      preprocessors={'b': padded, 'a': plain}, min_padding=1
    )(x, is_training=False)
  )
  arrays = {'a': normal(0, 2, 2, 4), 'b': normal(1, 2, 3, 4)}
  _, byte_array = jax.eval_shape(
    lambda: (
      (p := model.init(jax.random.key(0), arrays))
      and (p, model.apply(p, None, arrays))
    )
  )
  assert byte_array.mask.shape == (2, 5)
  params = {
    'multimodal/packing': {'a_padding': np.ones(1), 'b_padding': np.ones(1)}
  }
  joined = model.apply(params, None, arrays).mask
  np.testing.assert_array_equal(joined[:, :2], True)
  np.testing.assert_array_equal(joined[:, 2:], mask)


BATCH = 1000
DROP = (('sound', 0.25), ('video', 0.6))


@pytest.fixture(scope='module')
def dropped():
  """Inputs, and what training and evaluation make of them."""
  inputs = raw(BATCH)
  training = multimodal(True, drop_rates=DROP)(jax.random.key(3), inputs)
  evaluation = multimodal(False, drop_rates=DROP)(None, inputs)
  return (
    unpack(np.asarray(training.features), SIZES),
    unpack(np.asarray(evaluation.features), SIZES),
  )


FEATURES = {'sound': 2, 'video': 3}  # Widths without positions and padding.


def test_a_dropped_stream_has_zero_features_in_the_whole_example(dropped):
  training, evaluation = dropped
  for name, width in FEATURES.items():
    after, before = training[name][..., :width], evaluation[name][..., :width]
    gone = (after == 0.0).all(axis=(1, 2))
    np.testing.assert_array_equal(after[~gone], before[~gone])
    assert 0 < gone.sum() < BATCH


def test_positions_and_modality_vectors_of_dropped_streams_stay(dropped):
  training, evaluation = dropped
  for name, width in FEATURES.items():
    np.testing.assert_array_equal(
      training[name][..., width:], evaluation[name][..., width:]
    )
  np.testing.assert_array_equal(training['word'], evaluation['word'])


def test_streams_are_dropped_at_their_rates_each_on_its_own(dropped):
  training, _ = dropped
  gone = {
    name: (training[name][..., :width] == 0.0).all(axis=(1, 2))
    for name, width in FEATURES.items()
  }
  rates = dict(DROP) | {'both': 0.25 * 0.6}
  gone['both'] = gone['sound'] & gone['video']
  for name, rate in rates.items():
    deviation = np.sqrt(BATCH * rate * (1 - rate))
    assert abs(gone[name].sum() - BATCH * rate) < 3.5 * deviation, name


def test_no_stream_is_dropped_at_evaluation(dropped):
  _, evaluation = dropped
  for name, expected in expected_elements(raw(BATCH)).items():
    np.testing.assert_allclose(evaluation[name], expected, rtol=1e-5, atol=1e-6)


MASKED = (('sound', 0.0), ('video', 0.3), ('word', 0.5))


@pytest.fixture(scope='module')
def masked():
  """What training makes of inputs, and the inputs' elements."""
  training = multimodal(True, MASKED)(jax.random.key(3), raw(BATCH))
  return (
    unpack(np.asarray(training.features), SIZES),
    expected_elements(raw(BATCH)),
  )


def replaced(elements, name):
  """Where `[B, M]` elements are the modality's mask vector."""
  return (elements[name] == MASK_VECTORS[f'{name}_mask']).all(axis=-1)


def test_masked_elements_are_the_mask_vector_and_the_others_as_they_were(
  masked,
):
  training, expected = masked
  for name in ('video', 'word'):
    gone = replaced(training, name)
    assert 0 < gone.sum() < gone.size
    np.testing.assert_allclose(
      training[name][~gone], expected[name][~gone], rtol=1e-5, atol=1e-6
    )


def test_elements_are_masked_at_their_rates_each_on_its_own(masked):
  training, _ = masked
  for name, rate in MASKED:
    gone = replaced(training, name)
    deviation = np.sqrt(gone.size * rate * (1 - rate))
    assert abs(gone.sum() - gone.size * rate) <= 3.5 * deviation, name
  # Neighbours are both masked as often as chance has it.
  video = replaced(training, 'video')
  both = (video[:, 1:] & video[:, :-1]).mean()
  np.testing.assert_allclose(both, 0.3**2, atol=0.015)


def test_at_rate_zero_nothing_is_masked_though_there_is_a_vector(masked):
  training, expected = masked
  np.testing.assert_allclose(
    training['sound'], expected['sound'], rtol=1e-5, atol=1e-6
  )


def test_another_key_masks_other_elements(masked):
  again = multimodal(True, MASKED)(jax.random.key(4), raw(BATCH))
  again = unpack(np.asarray(again.features), SIZES)
  assert (replaced(again, 'video') != replaced(masked[0], 'video')).any()


def test_at_evaluation_all_of_some_modalities_are_masked_and_none_of_others():
  inputs = raw()
  evaluation = multimodal(False, MASKED, masked_in_evaluation=('word',))
  elements = unpack(np.asarray(evaluation(None, inputs).features), SIZES)
  assert replaced(elements, 'word').all()
  expected = expected_elements(inputs)
  for name in ('sound', 'video'):
    np.testing.assert_allclose(
      elements[name], expected[name], rtol=1e-5, atol=1e-6
    )


def test_mask_vectors_do_not_depend_on_rates_or_training():
  shapes = []
  for is_training in (False, True):
    model = hk.transform(
      lambda raw, is_training=is_training: Multimodal(
        preprocessors=preprocessors(),
        min_padding=2,
        mask_rates={'sound': 0.0, 'word': 1.0},
      )(raw, is_training=is_training)
    )
    params = jax.eval_shape(model.init, jax.random.key(0), raw())
    shapes.append(jax.tree.map(np.shape, params)['multimodal'])
  assert shapes == [{'sound_mask': (WIDTH,), 'word_mask': (WIDTH,)}] * 2


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'drop_rates': {'smell': 0.3}}, "drop_rates gives 'smell' the rate 0.3"),
    ({'drop_rates': {'video': 1.1}}, "drop_rates gives 'video' the rate 1.1"),
    ({'mask_rates': {'word': -0.1}}, "mask_rates gives 'word' the rate -0.1"),
    (
      {'masked_in_evaluation': ('word',)},
      r"\['word'\] without a rate in mask_rates",
    ),
  ],
)
def test_bad_settings(settings, message):
  with pytest.raises(ValueError, match=message):
    hk.testing.transform_and_run(
      lambda: Multimodal(
        preprocessors=preprocessors(), min_padding=2, **settings
      )
    )()


@pytest.mark.parametrize('change', [{'smell': 1.0}, {'word': None}])
def test_all_modalities_must_be_given_and_no_other(change):
  inputs = {n: x for n, x in (raw() | change).items() if x is not None}
  with pytest.raises(ValueError, match=r"Expected the modalities \['sound', "):
    multimodal(False)(None, inputs)
  with pytest.raises(ValueError, match=r"got .*'video'"):
    check_modalities(inputs, SIZES)
  check_modalities(SIZES, WIDTHS)
