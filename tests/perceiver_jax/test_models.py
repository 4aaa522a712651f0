"""Whole models: masks, batches, queries, units, gradients."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.byte_array import ByteArray
from perceiver_jax.convolutions import ConvexUpsample
from perceiver_jax.decoder import Decoder
from perceiver_jax.encoder import Encoder
from perceiver_jax.frame_preprocessors import FrameConvStem, FramePatches
from perceiver_jax.models import (
  EntityEncoder,
  MaskedLanguageModel,
  MultimodalAutoencoder,
  OpticalFlow,
  PerceiverClassifier,
  PerceiverIOClassifier,
  TextClassifier,
)
from perceiver_jax.multimodal import Multimodal
from perceiver_jax.position_encoding import FourierPositions
from perceiver_jax.postprocessors import (
  AudioSamples,
  ClassLogits,
  PixelValues,
)
from perceiver_jax.preprocessors import AudioPatches, OneHot, Patches
from perceiver_jax.queries import GridQueries, LearnedQueries
from perceiver_jax.token_embedding import TokenEmbedding

CLOSE = {'rtol': 2e-4, 'atol': 2e-4}


def normal(seed, *shape):
  return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def random_params(model, *args):
  """Random values everywhere; no initialiser is compiled."""
  shapes = jax.eval_shape(model.init, jax.random.key(0), *args)
  rng = np.random.default_rng(7)
  return jax.tree.map(
    lambda x: rng.normal(0.1, 0.4, x.shape).astype(np.float32), shapes
  )


def encoder():
  return Encoder(
    num_latents=4,
    latent_channels=8,
    cross_attends=(1,),
    self_attends_per_block=0,  # Compiles faster.
    self_attend_heads=2,
  )


def fourier(*max_resolution, **settings):
  return FourierPositions(
    num_bands=2, max_resolution=max_resolution, **settings
  )


# Models of a sequence of inputs: their shapes, masks and batches.

LENGTH, SHORT = 8, 5
PLACES = normal(9, LENGTH, 3)


def byte_array(features):
  return ByteArray(features, jnp.asarray(PLACES[: features.shape[1]]))


def classifier(features, mask=None, query_mask=None):
  model = PerceiverClassifier(
    preprocessor=None, encoder=encoder(), num_classes=3
  )
  return model(byte_array(features), is_training=False, input_mask=mask)


def io_classifier(features, mask=None, query_mask=None):
  model = PerceiverIOClassifier(
    preprocessor=None,
    encoder=encoder(),
    queries=LearnedQueries(num_queries=1, num_channels=6),
    decoder=Decoder(output_channels=3),
  )
  return model(byte_array(features), is_training=False, input_mask=mask)


def embedding():
  return TokenEmbedding(vocab_size=9, num_channels=6, max_length=LENGTH)


def language_model(tokens, mask=None, query_mask=None, num_queries=LENGTH):
  model = MaskedLanguageModel(
    embedding=embedding(),
    encoder=encoder(),
    queries=LearnedQueries(num_queries=num_queries, num_channels=6),
    decoder=Decoder(output_channels=None, num_heads=2),
  )
  return model(
    tokens, is_training=False, input_mask=mask, query_mask=query_mask
  )


def text_classifier(tokens, mask=None, query_mask=None):
  model = TextClassifier(
    embedding=embedding(),
    encoder=encoder(),
    queries=LearnedQueries(num_queries=2, num_channels=6),
    decoder=Decoder(output_channels=None),
    tasks={'b': 1, 'a': 3},
  )
  return model(tokens, is_training=False, input_mask=mask)


def entity_encoder(entities, mask=None, query_mask=None):
  model = EntityEncoder(
    num_channels=6,
    encoder=encoder(),
    decoder=Decoder(output_channels=5, query_residual=True),
  )
  return model(entities, is_training=False, mask=mask)


FEATURES, TOKENS = normal(0, 2, LENGTH, 3), np.arange(16).reshape(2, 8) % 9
SEQUENCE_MODELS = {
  classifier: FEATURES,
  io_classifier: FEATURES,
  language_model: TOKENS,
  text_classifier: TOKENS,
  entity_encoder: FEATURES,
}


@functools.cache
def compiled(forward):
  """Transformed function, random parameters, jitted apply without a key."""
  model = hk.transform(forward)
  params = random_params(model, SEQUENCE_MODELS[forward])
  apply = jax.jit(model.apply)
  return model, params, functools.partial(apply, params, None)


def lengths(*numbers):
  return np.arange(LENGTH) < np.array(numbers)[:, None]


EVERYTHING = lengths(LENGTH, LENGTH)


@pytest.mark.parametrize('forward', SEQUENCE_MODELS)
def test_a_padded_example_of_a_batch_is_as_if_cut_off_and_alone(forward):
  _, _, apply = compiled(forward)
  inputs = SEQUENCE_MODELS[forward]
  whole = apply(inputs, EVERYTHING, EVERYTHING)
  for example in (0, 1):
    alone = apply(inputs[example : example + 1, :SHORT])
    mask = lengths(*np.where(np.arange(2) == example, SHORT, LENGTH))
    anything = np.nan if inputs.dtype == np.float32 else 8
    padded = np.where(
      mask.reshape(2, LENGTH, *(1,) * (inputs.ndim - 2)), inputs, anything
    ).astype(inputs.dtype)
    together = apply(padded, mask, mask)

    def check(together, alone, whole, example=example):
      one = together[example]
      if one.shape != alone[0].shape:  # An output for each input.
        one = one[:SHORT]
      np.testing.assert_allclose(one, alone[0], **CLOSE)
      np.testing.assert_allclose(
        together[1 - example], whole[1 - example], **CLOSE
      )

    jax.tree.map(check, together, alone, whole)


@pytest.mark.parametrize('forward', [language_model, entity_encoder])
def test_gradients_are_finite_and_reach_every_parameter(forward):
  model, params, _ = compiled(forward)
  mask = lengths(LENGTH, SHORT)
  inputs = SEQUENCE_MODELS[forward]
  if inputs.dtype == np.float32:
    inputs = np.where(mask[..., None], inputs, np.nan)

  def loss(params):
    outputs = model.apply(params, None, inputs, mask, mask)
    return jnp.square(outputs - 1.0).sum()

  for module, leaves in jax.jit(jax.grad(loss))(params).items():
    for name, gradient in leaves.items():
      assert np.isfinite(gradient).all(), (module, name)
      # The softmax does not see what a key bias adds to all scores.
      if not (module.endswith('attention/key') and name == 'b'):
        assert np.abs(gradient).max() > 0.0, (module, name)


@pytest.mark.parametrize('forward', [language_model, entity_encoder])
def test_outputs_that_are_not_wanted_change_no_other(forward):
  _, params, apply = compiled(forward)
  inputs = SEQUENCE_MODELS[forward]
  wanted = np.arange(2 * LENGTH).reshape(2, LENGTH) % 3 != 0
  if forward is entity_encoder:  # Where there is no entity, none is wanted.
    masked = np.asarray(apply(inputs, wanted))
    np.testing.assert_array_equal(masked[~wanted], 0.0)
    assert np.abs(masked[wanted]).min() > 0.0
    return
  masked = np.asarray(apply(inputs, EVERYTHING, wanted))
  everywhere = np.asarray(apply(inputs, EVERYTHING, EVERYTHING))
  np.testing.assert_allclose(masked[wanted], everywhere[wanted], **CLOSE)
  bias = params['masked_language_model/token_logits']['b']
  np.testing.assert_allclose(
    masked[~wanted], np.broadcast_to(bias, ((~wanted).sum(), 9)), rtol=1e-6
  )


def test_entities_in_another_order_give_embeddings_in_that_order():
  _, _, apply = compiled(entity_encoder)
  mask = lengths(LENGTH, SHORT)
  order = np.random.default_rng(3).permutation(LENGTH)
  np.testing.assert_allclose(
    apply(FEATURES[:, order], mask[:, order], EVERYTHING),
    apply(FEATURES, mask, EVERYTHING)[:, order],
    **CLOSE,
  )


def test_an_entity_is_embedded_in_the_light_of_the_others():
  _, _, apply = compiled(entity_encoder)
  changed = FEATURES.copy()
  changed[0, 0] += 1.0
  difference = np.abs(
    apply(changed, EVERYTHING, EVERYTHING)
    - apply(FEATURES, EVERYTHING, EVERYTHING)
  ).max(axis=-1)
  assert difference[0].min() > 1e-3
  np.testing.assert_array_equal(difference[1], 0.0)


def test_text_may_not_be_longer_than_the_queries():
  model = hk.transform(functools.partial(language_model, num_queries=SHORT))
  init = functools.partial(jax.eval_shape, model.init, jax.random.key(0))
  init(TOKENS[:, :SHORT])
  with pytest.raises(ValueError, match='from 0 to 4; got 0 to 7'):
    init(TOKENS)


def returns(value):
  """A part of a model that is not looked at."""
  return lambda *args, **kwargs: value


def test_queries_belong_to_tasks_in_alphabetical_order():
  queries = normal(1, 3, 4)
  heads = {
    f'text_classifier/{task}_head/{layer}': {
      'w': normal(seed, 4, channels),
      'b': normal(seed + 1, channels),
    }
    for seed, (task, classes) in enumerate({'a': 3, 'm': 1, 'z': 2}.items())
    for layer, channels in (('hidden', 4), ('logits', classes))
  }

  def forward():
    model = TextClassifier(
      embedding=returns(ByteArray(jnp.zeros((1, 1, 1)))),
      encoder=returns(None),
      queries=LearnedQueries(num_queries=3, num_channels=4),
      decoder=lambda queries, latents, *, is_training: queries,
      tasks={'z': 2, 'a': 3, 'm': 1},
    )
    return model(None, is_training=False)

  params = {'learned_queries/queries': {'positions': queries}, **heads}
  logits = hk.transform(forward).apply(params, None)
  assert set(logits) == {'a', 'm', 'z'}
  for query, task in zip(queries, 'amz', strict=True):
    hidden, last = (
      heads[f'text_classifier/{task}_head/{layer}']
      for layer in ('hidden', 'logits')
    )
    expected = np.tanh(query @ hidden['w'] + hidden['b']) @ last['w']
    np.testing.assert_allclose(
      logits[task], [expected + last['b']], rtol=1e-5, atol=1e-5
    )


def test_every_task_needs_a_query():
  def forward():
    TextClassifier(
      embedding=embedding(),
      encoder=encoder(),
      queries=LearnedQueries(num_queries=1, num_channels=6),
      decoder=Decoder(output_channels=None),
      tasks={'cola': 2, 'rte': 2},
    )

  with pytest.raises(ValueError, match=r"1 queries for the 2 tasks \['cola'"):
    hk.testing.transform_and_run(forward)()


def test_logits_are_float32_even_for_bfloat16_inputs():
  for forward in (classifier, io_classifier):
    logits = jax.eval_shape(
      lambda forward=forward: hk.transform(forward).apply(
        compiled(forward)[1], None, jnp.asarray(FEATURES, jnp.bfloat16)
      )
    )
    assert logits.shape == (2, 3) and logits.dtype == jnp.float32


# Optical flow.

FRAMES = normal(5, 2, 2, 3, 4, 2)


def flow_of_parts(frames, query_mask=None, **parts):
  """Flow where the parts that are not given do nothing."""

  def forward(frames):
    defaults = {
      'preprocessor': lambda frames, *, is_training: ByteArray(
        frames.reshape(frames.shape[0], -1, frames.shape[-1])
      ),
      'encoder': returns(None),
      'decoder': lambda queries, latents, *, is_training, query_mask: queries[
        ..., :2
      ],
    }
    return OpticalFlow(**(defaults | parts))(
      frames, is_training=False, query_mask=query_mask
    )

  return np.asarray(hk.transform(forward).apply({}, None, frames))


def test_queries_are_the_first_frame_where_frames_are_kept_apart():
  flow = flow_of_parts(FRAMES, flow_scale=1.0)
  np.testing.assert_array_equal(flow, FRAMES[:, 0])


def test_flow_is_the_decoders_output_times_its_unit():
  for flow_scale in (0.2, 5.0):
    flow = flow_of_parts(FRAMES, flow_scale=flow_scale)
    np.testing.assert_allclose(flow, flow_scale * FRAMES[:, 0], rtol=1e-6)


@dataclasses.dataclass
class Repeat:
  """Stands for an upsampling that is nowhere zero."""

  factor: int = 2

  def __call__(self, x):
    return 1.0 + x.repeat(self.factor, axis=1).repeat(self.factor, axis=2)


def coarse(frames, *, is_training):
  """Every second pixel on both axes, frame by frame."""
  del is_training
  kept = frames[:, :, ::2, ::2]
  return ByteArray(kept.reshape(frames.shape[0], -1, frames.shape[-1]))


def test_upsampled_flow_has_the_size_of_the_frames():
  frames = normal(6, 2, 2, 4, 6, 2)
  flow = flow_of_parts(
    frames, preprocessor=coarse, stride=2, upsample=Repeat(), flow_scale=1.0
  )
  np.testing.assert_array_equal(flow, Repeat()(frames[:, 0, ::2, ::2]))


def test_flow_is_zero_where_it_is_not_wanted_after_upsampling_too():
  frames = normal(6, 2, 2, 4, 6, 2)
  wanted = np.arange(12).reshape(2, 6) % 2 == 0
  flow = flow_of_parts(
    frames, wanted, preprocessor=coarse, stride=2, upsample=Repeat()
  )
  fine = wanted.reshape(2, 2, 3).repeat(2, axis=1).repeat(2, axis=2)
  np.testing.assert_array_equal(flow[~fine], 0.0)
  assert np.abs(flow[fine]).min() > 0.0


@pytest.mark.parametrize('settings', [{'stride': 4}, {'upsample': Repeat(2)}])
def test_upsampling_must_make_up_for_the_stride(settings):
  with pytest.raises(ValueError, match='both must be the same'):
    flow_of_parts(FRAMES, **settings)


@pytest.mark.parametrize(
  'shape', [(2, 3, 4, 6, 2), (2, 4, 6, 2), (2, 2, 5, 6, 2)]
)
def test_frames_must_be_two_of_a_size_that_fits_the_stride(shape):
  with pytest.raises(ValueError, match='H and W multiples of 2, got'):
    flow_of_parts(
      np.zeros(shape), preprocessor=coarse, stride=2, upsample=Repeat()
    )


# The last column of the first frame of the first example is not there.
FLOW_MASK = np.ones((2, 12), bool)
FLOW_MASK[0, 3::4] = False


@pytest.fixture(scope='module')
def flow():
  """Parameters and jitted apply of a small model with frames apart."""

  def forward(frames, input_mask, query_mask):
    model = OpticalFlow(
      preprocessor=FramePatches(
        patch_size=1,
        num_channels=4,
        concatenate_frames=False,
        positions=fourier(4, 4, 4),
      ),
      encoder=encoder(),
      decoder=Decoder(output_channels=2),
    )
    return model(
      frames, is_training=False, input_mask=input_mask, query_mask=query_mask
    )

  model = hk.transform(forward)
  params = random_params(model, FRAMES, np.ones((2, 24), bool), FLOW_MASK)
  return params, jax.jit(model.apply)


def test_pixels_that_are_not_there_change_nothing(flow):
  params, apply = flow
  input_mask = np.concatenate([FLOW_MASK, np.ones((2, 12), bool)], axis=1)
  filled = FRAMES.copy()
  filled[0, 0, :, 3] = np.nan
  first, second = (
    np.asarray(apply(params, None, frames, input_mask, FLOW_MASK))
    for frames in (FRAMES, filled)
  )
  np.testing.assert_array_equal(first, second)
  np.testing.assert_array_equal(first[0, :, 3], 0.0)
  assert first.shape == (2, 3, 4, 2) and np.abs(first[0, :, :3]).min() > 0.0
  # As inputs they do matter while they are there.
  present = apply(params, None, FRAMES, np.ones((2, 24), bool), FLOW_MASK)
  assert np.abs(present - first)[0].max() > 1e-3


def test_pairs_of_frames_do_not_mix(flow):
  params, apply = flow
  everything = np.ones((2, 24), bool), np.ones((2, 12), bool)
  together = apply(params, None, FRAMES, *everything)
  for example in (0, 1):
    alone = np.stack([FRAMES[example], np.full_like(FRAMES[0], 3.0)])
    np.testing.assert_allclose(
      apply(params, None, alone, *everything)[0], together[example], **CLOSE
    )


def test_flow_after_convolutions_has_parameters_for_every_part():
  def forward(frames):
    model = OpticalFlow(
      preprocessor=FrameConvStem(
        num_channels=4, concatenate_frames=True, positions=fourier(4, 4)
      ),
      encoder=encoder(),
      decoder=Decoder(output_channels=None),
      stride=4,
      upsample=ConvexUpsample(num_channels=2, factor=4),
    )
    return model(frames, is_training=True)

  model = hk.transform_with_state(forward)
  frames = jax.ShapeDtypeStruct((2, 2, 8, 12, 3), jnp.float32)
  params, state = jax.eval_shape(model.init, jax.random.key(0), frames)
  flow, _ = jax.eval_shape(model.apply, params, state, None, frames)
  assert flow.shape == (2, 8, 12, 2) and flow.dtype == jnp.float32
  conv = params['frame_conv_stem/stem/convolutions/conv_0']
  assert conv['w'].shape == (7, 7, 6, 4)
  assert params['convex_upsample/weights']['w'].shape == (14, 9 * 16)


# The multimodal autoencoder: 4 patches of sound, 2 x 4 x 4 pixels, a label.

INPUTS = {
  'audio': normal(0, 2, 12),
  'image': normal(1, 2, 2, 4, 4, 1),
  'label': np.array([2, 0]),
}
SIZES = {'audio': 4, 'image': 32, 'label': 1}
NUM_INPUTS = 4 + 8 + 1


def autoencoder(inputs, is_training, num_chunks=1, **options):
  model = MultimodalAutoencoder(
    preprocessor=Multimodal(
      preprocessors={
        'audio': AudioPatches(samples_per_patch=3, positions=fourier(4)),
        'image': Patches(patch_shape=(1, 2, 2), positions=fourier(4, 4, 4)),
        'label': OneHot(num_classes=3),
      },
      min_padding=2,
      mask_rates={'label': 0.5},
      masked_in_evaluation=('label',),
    ),
    encoder=encoder(),
    queries={
      'label': LearnedQueries(num_queries=1, num_channels=3),
      'image': GridQueries(
        positions=fourier(4, 4, 4, include_end=False), grid_shape=(2, 4, 4)
      ),
      'audio': GridQueries(positions=fourier(4), grid_shape=(4,)),
    },
    decoder=Decoder(output_channels=6),
    postprocessors={
      'audio': AudioSamples(samples_per_patch=3),
      'image': PixelValues(num_channels=2),
      'label': ClassLogits(num_classes=3),
    },
    num_chunks=num_chunks,
  )
  return model(inputs, is_training=is_training, **options)


@dataclasses.dataclass
class Compiled:
  """An autoencoder with random parameters, at evaluation."""

  params: Any
  apply: Callable[..., Any]

  def __call__(self, inputs, params=None, **options):
    return jax.tree.map(
      np.asarray,
      self.apply(self.params if params is None else params, inputs, options),
    )


@functools.cache
def compiled_autoencoder(num_chunks=1):
  model = hk.transform(
    lambda inputs, options: autoencoder(inputs, False, num_chunks, **options)
  )
  params = random_params(model, INPUTS, {})
  return Compiled(
    params,
    jax.jit(lambda params, *args: model.apply(params, None, *args)),
  )


@pytest.fixture(scope='module')
def full():
  return compiled_autoencoder()(INPUTS)


def test_outputs_have_the_shapes_of_their_grids(full):
  assert jax.tree.map(np.shape, full) == {
    'audio': (2, 12),
    'image': (2, 2, 4, 4, 2),
    'label': (2, 3),
  }


def test_some_points_are_rows_of_the_full_decoding(full):
  # Sound: the same points for all examples; image: each example's own.
  sound = np.array([2, 0])
  image = np.array([[31, 0, 7], [5, 5, 16]])
  some = compiled_autoencoder()(INPUTS, points={'audio': sound, 'image': image})
  np.testing.assert_allclose(
    some['audio'].reshape(2, 2, 3),
    full['audio'].reshape(2, 4, 3)[:, sound],
    **CLOSE,
  )
  np.testing.assert_allclose(
    some['image'],
    full['image'].reshape(2, 32, 2)[np.arange(2)[:, None], image],
    **CLOSE,
  )
  np.testing.assert_allclose(some['label'], full['label'], **CLOSE)


@pytest.mark.parametrize('num_chunks', [4, 7])  # 4 divides 4 and 32.
def test_decoding_in_chunks_gives_the_undivided_outputs(full, num_chunks):
  chunked = compiled_autoencoder(num_chunks)
  jax.tree.map(
    np.testing.assert_array_equal,
    chunked.params,
    compiled_autoencoder().params,
  )
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, **CLOSE),
    chunked(INPUTS),
    full,
  )


def test_masked_queries_give_the_bias_and_change_no_other(full):
  wanted = np.arange(64).reshape(2, 32) % 3 != 0
  model = compiled_autoencoder()
  masked = model(INPUTS, query_masks={'image': wanted})
  bias = model.params['pixel_values/pixels']['b']
  image = np.where(
    wanted.reshape(2, 2, 4, 4, 1), full['image'], bias[None, None, None, None]
  )
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, **CLOSE),
    masked,
    full | {'image': image},
  )


def test_sound_that_is_not_there_changes_nothing(full):
  mask = np.ones((2, NUM_INPUTS), bool)
  mask[0, 2:4] = False  # The last two patches of the first example's sound.
  silenced = INPUTS['audio'].copy()
  silenced[0, 6:] = np.nan
  model = compiled_autoencoder()
  first = model(INPUTS, input_mask=mask)
  second = model(INPUTS | {'audio': silenced}, input_mask=mask)
  jax.tree.map(np.testing.assert_array_equal, first, second)
  assert np.abs(first['label'] - full['label'])[0].max() > 1e-4
  np.testing.assert_allclose(first['label'][1], full['label'][1], **CLOSE)


def test_the_label_is_asked_for_by_its_own_query_and_not_given_away(full):
  model = compiled_autoencoder()
  # Masked at evaluation: what is said about it does not matter.
  other = model(INPUTS | {'label': np.array([1, 1])})
  jax.tree.map(np.testing.assert_array_equal, other, full)
  queries = model.params['learned_queries/queries']['positions']
  other = model(
    INPUTS,
    model.params | {'learned_queries/queries': {'positions': queries + 1.0}},
  )
  assert np.abs(other['label'] - full['label']).max() > 1e-3
  for name in ('audio', 'image'):
    np.testing.assert_allclose(other[name], full[name], **CLOSE)


def test_autoencoded_examples_do_not_mix(full):
  model = compiled_autoencoder()
  other = jax.tree.map(lambda x: x.copy(), INPUTS)
  other['audio'][1] += 1.0
  other['image'][1] -= 1.0
  outputs = model(other)
  for name, x in outputs.items():
    np.testing.assert_allclose(x[0], full[name][0], **CLOSE)
    assert np.abs(x[1] - full[name][1]).max() > 1e-3


def test_gradients_of_training_on_some_points_are_finite_everywhere():
  model = hk.transform(functools.partial(autoencoder, is_training=True))
  params = compiled_autoencoder().params
  points = {'audio': np.array([1, 2]), 'image': np.array([[3, 9], [30, 1]])}

  def loss(params):
    # A key by which one label is masked and the other is not.
    outputs = model.apply(params, jax.random.key(1), INPUTS, points=points)
    return sum(jnp.square(x - 1.0).sum() for x in outputs.values())

  for module, leaves in jax.jit(jax.grad(loss))(params).items():
    for name, gradient in leaves.items():
      assert np.isfinite(gradient).all(), (module, name)
      if not (module.endswith('attention/key') and name == 'b'):
        assert np.abs(gradient).max() > 0.0, (module, name)


def trace_autoencoder(*args, **options):
  model = hk.transform(functools.partial(autoencoder, **options))
  return jax.eval_shape(
    lambda: model.apply(compiled_autoencoder().params, None, INPUTS, *args)
  )


def test_a_key_is_needed_in_training_only():
  assert trace_autoencoder(False)['label'].shape == (2, 3)
  with pytest.raises(ValueError, match='non-None PRNGKey'):
    trace_autoencoder(True)


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'points': {'smell': np.array([0])}}, "no outputs .*'smell'"),
    (
      {'query_masks': {'smell': np.ones((2, 1), bool)}},
      "no outputs .*'smell'",
    ),
    (
      {'query_masks': {'image': np.ones((2, 31), bool)}},
      "The mask of 'image' has shape",
    ),
    ({'points': {'image': np.array([32])}}, 'from 0 to 31; got 32 to 32'),
    ({'num_chunks': 0}, 'num_chunks must be at least 1, got 0'),
  ],
)
def test_bad_arguments_of_the_autoencoder(options, message):
  with pytest.raises(ValueError, match=message):
    trace_autoencoder(False, **options)


def test_outputs_of_a_modality_need_queries_and_a_postprocessor():
  def forward():
    MultimodalAutoencoder(
      preprocessor=None,
      encoder=encoder(),
      queries={'label': LearnedQueries(num_queries=1, num_channels=3)},
      decoder=Decoder(output_channels=6),
      postprocessors={'audio': AudioSamples(samples_per_patch=3)},
    )

  with pytest.raises(ValueError, match=r"Expected the modalities \['audio'\]"):
    hk.testing.transform_and_run(forward)()


def test_parts_that_cannot_work_together_are_refused():
  def language(query_channels, output_channels):
    return MaskedLanguageModel(
      embedding=TokenEmbedding(vocab_size=9, num_channels=8, max_length=6),
      encoder=None,
      queries=LearnedQueries(num_queries=6, num_channels=query_channels),
      decoder=Decoder(output_channels=output_channels),
    )

  def classifier():
    return PerceiverIOClassifier(
      preprocessor=None,
      encoder=None,
      queries=LearnedQueries(num_queries=2, num_channels=8),
      decoder=Decoder(output_channels=3),
    )

  for build, message in (
    (lambda: language(7, None), r'num_channels, got 7 and 8'),
    (lambda: language(8, 5), r'must be None, got 5'),
    (classifier, r'one output, its queries for 2'),
  ):
    with pytest.raises(ValueError, match=message):
      hk.testing.transform_and_run(build)()
