"""Golden files from the code that the authors of Perceiver IO released.

Small models, put together as in the notebooks beside that code, with random
weights, run in float64. The code is the directory `perceiver` of
https://github.com/google-deepmind/deepmind-research; PATH is the directory
that holds it. Besides, JAX, Haiku and einops are needed (made with jax 0.10.2
and dm-haiku 0.0.17, on a CPU):

  python tests/golden/make_released.py --code=PATH [--check]

Keys and layouts are described in the README of this folder.
"""

import functools
import importlib
import math
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from golden_files import (
  Golden,
  argument_parser,
  golden,
  normal,
  parameter,
  positive,
  write_or_check,
)

NUM_CLASSES = 5
IMAGE_SHAPE = (5, 9)  # The positions of 5 and 9 points are exact in float32.
MAX_RESOLUTION = (6, 12)

ENCODER = {
  'num_self_attends_per_block': 2,
  'num_blocks': 2,
  'z_index_dim': 6,
  'num_z_channels': 16,
  'qk_channels': None,
  'v_channels': None,
  'num_cross_attend_heads': 1,
  'num_self_attend_heads': 4,
  'cross_attend_widening_factor': 1,
  'self_attend_widening_factor': 1,
  'dropout_prob': 0.0,
  'z_pos_enc_init_scale': 0.02,
  'cross_attention_shape_for_attn': 'kv',
  'use_query_residual': True,
}


class Released:
  """The released modules, imported from where they lie."""

  perceiver: ModuleType
  io_processors: ModuleType
  position_encoding: ModuleType

  @classmethod
  def load(cls, path: str) -> None:
    """Imports package `perceiver` from directory `path`."""
    sys.path.insert(0, path)
    for name in ('perceiver', 'io_processors', 'position_encoding'):
      setattr(cls, name, importlib.import_module(f'perceiver.{name}'))


def fan_in(name: str, shape: tuple[int, ...]) -> int:
  """Inputs of each output of a linear or convolution weight."""
  assert name == 'w', name
  return math.prod(shape[:-1])


KINDS = {
  'scale': 'scale',
  'offset': 'bias',
  'b': 'bias',
  'bias': 'bias',
  'pos_embs': 'table',
  'embeddings': 'table',
}


def random_params(
  params: Mapping[str, Mapping[str, Any]], rng: np.random.Generator
) -> dict[str, dict[str, np.ndarray]]:
  """Draws every parameter, in order of their names."""
  drawn = {}
  for module, members in sorted(params.items()):
    drawn[module] = {}
    for name, value in sorted(members.items()):
      if name in KINDS:
        new = parameter(rng, KINDS[name], value.shape)
      else:
        new = parameter(rng, 'weight', value.shape, fan_in(name, value.shape))
      drawn[module][name] = new
  return drawn


def random_state(
  state: Mapping[str, Mapping[str, Any]], rng: np.random.Generator
) -> dict[str, dict[str, np.ndarray]]:
  """Draws batch norm's averages, in order of their names."""
  drawn = {}
  for module, members in sorted(state.items()):
    draw = positive if module.endswith('var_ema') else normal
    drawn[module] = {
      name: np.asarray(7, np.int32)
      if name == 'counter'
      else draw(rng, value.shape)
      for name, value in sorted(members.items())
    }
  return drawn


def flat(tree: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
  """Names 'module|parameter'."""
  return {
    f'{module}|{name}': value
    for module, members in tree.items()
    for name, value in members.items()
  }


def run(
  model: Callable[..., Any], rng: np.random.Generator, **inputs: Any
) -> tuple[dict[str, Any], dict[str, np.ndarray], Any]:
  """Randomises and applies a model.

  Args:
    model: to be transformed; called with `inputs` and `is_training`.
    rng: generator of parameters and state.
    **inputs: of the model.

  Returns:
    Groups 'params' and 'state' of a file, latents, and outputs.
  """
  latents = []

  def record(method, args, kwargs, context):
    made = method(*args, **kwargs)
    encoder = isinstance(context.module, Released.perceiver.PerceiverEncoder)
    if encoder and context.method_name == '__call__':
      latents.append(made)
    return made

  def recorded(**kwargs):
    with hk.intercept_methods(record):
      outputs = model(**kwargs)
    return latents.pop(), outputs

  transformed = hk.transform_with_state(recorded)
  key = jax.random.key(0)
  # Batch norm makes its state only in training.
  init = functools.partial(transformed.init, is_training=True)
  params, state = jax.eval_shape(init, key, **inputs)
  params, state = random_params(params, rng), random_state(state, rng)
  apply = jax.jit(functools.partial(transformed.apply, is_training=False))
  (z, outputs), _ = apply(params, state, key, **inputs)
  for made in (z, *jax.tree.leaves(outputs)):
    assert made.dtype == np.float64, made.dtype
  return {'params': flat(params), 'state': flat(state)}, z, outputs


def attend_config(
  query_channels: int,
  input_channels: int,
  num_heads: int,
  qk_channels: int | None,
  v_channels: int | None,
  query_residual: bool,
) -> dict[str, Any]:
  """Hyperparameters of an attention layer, defaults filled in."""
  qk_channels = qk_channels or input_channels
  return {
    'num_heads': num_heads,
    'query_channels': query_channels,
    'input_channels': input_channels,
    'qk_channels': qk_channels,
    'v_channels': v_channels or qk_channels,
    'widening_factor': 1,
    'query_residual': query_residual,
  }


def trunk_config(
  encoder: Mapping[str, Any],
  input_channels: int,
  *,
  query_channels: int,
  output_channels: int | None,
  query_residual: bool,
  decoder_heads: int = 1,
  decoder_qk_channels: int | None = None,
  decoder_v_channels: int | None = None,
) -> dict[str, Any]:
  """Hyperparameters of latents, encoder and decoder."""
  width = encoder['num_z_channels']
  projected = encoder['qk_channels'], encoder['v_channels']
  return {
    'num_latents': encoder['z_index_dim'],
    'latent_channels': width,
    'num_blocks': encoder['num_blocks'],
    'num_layers': encoder['num_self_attends_per_block'],
    'approximate_gelu': True,
    'cross_attend': attend_config(
      width,
      input_channels,
      encoder['num_cross_attend_heads'],
      *projected,
      encoder['use_query_residual'],
    ),
    'self_attend': attend_config(
      width, width, encoder['num_self_attend_heads'], *projected, True
    ),
    'decoder': attend_config(
      query_channels,
      width,
      decoder_heads,
      decoder_qk_channels,
      decoder_v_channels,
      query_residual,
    )
    | {'output_channels': output_channels},
  }


def fourier(num_bands: int, max_resolution: tuple[int, ...]) -> dict[str, Any]:
  """Arguments of a Fourier position encoding."""
  return {
    'position_encoding_type': 'fourier',
    'fourier_position_encoding_kwargs': {
      'num_bands': num_bands,
      'max_resolution': max_resolution,
      'concat_pos': True,
      'sine_only': False,
    },
  }


def fourier_channels(num_bands: int, max_resolution: tuple[int, ...]) -> int:
  """Width of a Fourier position encoding."""
  return len(max_resolution) * (2 * num_bands + 1)


def fourier_config(
  num_bands: int, max_resolution: tuple[int, ...]
) -> dict[str, Any]:
  """What a file says of a Fourier position encoding."""
  return {
    'type': 'fourier',
    'num_bands': num_bands,
    'max_resolution': list(max_resolution),
  }


def learned(num_channels: int) -> dict[str, Any]:
  """Arguments of a learned position encoding."""
  return {
    'position_encoding_type': 'trainable',
    'trainable_position_encoding_kwargs': {
      'num_channels': num_channels,
      'init_scale': 0.02,
    },
  }


def masked_lm() -> Golden:
  """Two masks that differ, both with holes; the last example is all padding."""
  rng = np.random.default_rng(0)
  length, vocab_size, width = 20, 50, 16
  encoder = ENCODER | {
    'num_self_attends_per_block': 3,
    'num_blocks': 1,
    'z_index_dim': 7,
    'num_z_channels': 24,
    'num_self_attend_heads': 4,
    'num_cross_attend_heads': 2,
    'qk_channels': 8,
    'v_channels': 24,
  }
  heads, qk_channels, v_channels = 4, 12, 16

  def model(tokens, input_mask, query_mask, is_training):
    embed = hk.Embed(vocab_size=vocab_size, embed_dim=width)
    positions = Released.position_encoding.TrainablePositionEncoding(
      index_dim=length, num_channels=width
    )
    embedded = embed(tokens) + positions(tokens.shape[0])
    perceiver = Released.perceiver.Perceiver(
      encoder=Released.perceiver.PerceiverEncoder(**encoder),
      decoder=Released.perceiver.BasicDecoder(
        output_num_channels=encoder['num_z_channels'],
        output_index_dims=length,
        num_z_channels=encoder['num_z_channels'],
        qk_channels=qk_channels,
        v_channels=v_channels,
        num_heads=heads,
        final_project=False,
        use_query_residual=False,
        **learned(width),
      ),
    )
    decoded = perceiver(
      embedded,
      is_training=is_training,
      input_mask=input_mask,
      query_mask=query_mask,
    )
    return Released.io_processors.EmbeddingDecoder(
      embedding_matrix=embed.embeddings
    )(decoded)

  tokens = rng.integers(vocab_size, size=(4, length)).astype(np.int32)
  mask = np.arange(length) < np.array([[20], [13], [17], [0]])
  mask[2, 4:7] = False
  query_mask = np.arange(length) < np.array([[20], [16], [9], [11]])
  query_mask[1, 2:5] = False
  weights, latents, logits = run(
    model,
    rng,
    tokens=tokens,
    input_mask=mask.astype(np.int32),
    query_mask=query_mask.astype(np.int32),
  )
  config = {
    'architecture': 'masked_lm',
    'vocab_size': vocab_size,
    'max_length': length,
    'embedding_channels': width,
    **trunk_config(
      encoder,
      width,
      query_channels=width,
      output_channels=None,
      query_residual=False,
      decoder_heads=heads,
      decoder_qk_channels=qk_channels,
      decoder_v_channels=v_channels,
    ),
  }
  return golden(
    config,
    **weights,
    inputs={'tokens': tokens, 'mask': mask, 'query_mask': query_mask},
    outputs={'latents': latents, 'logits': logits},
  )


def image_golden(
  seed: int,
  architecture: str,
  image_shape: tuple[int, int],
  preprocessing: dict[str, Any],
  input_config: dict[str, Any],
  input_channels: int,
  query_residual: bool,
) -> Golden:
  """An image classifier."""
  rng = np.random.default_rng(seed)
  width = ENCODER['num_z_channels']

  def model(images, is_training):
    perceiver = Released.perceiver.Perceiver(
      input_preprocessor=Released.io_processors.ImagePreprocessor(
        **preprocessing
      ),
      encoder=Released.perceiver.PerceiverEncoder(**ENCODER),
      decoder=Released.perceiver.ClassificationDecoder(
        NUM_CLASSES,
        num_z_channels=width,
        use_query_residual=query_residual,
        **learned(width),
      ),
    )
    return perceiver(images, is_training=is_training)

  images = normal(rng, (2, *image_shape, 3))
  weights, latents, logits = run(model, rng, images=images)
  config = {
    'architecture': architecture,
    'image_shape': list(image_shape),
    'image_channels': 3,
    'num_classes': NUM_CLASSES,
    'input': input_config,
    **trunk_config(
      ENCODER,
      input_channels,
      query_channels=width,
      output_channels=NUM_CLASSES,
      query_residual=query_residual,
    ),
  }
  return golden(
    config,
    **weights,
    inputs={'images': images},
    outputs={'latents': latents, 'logits': logits},
  )


def image_fourier() -> Golden:
  """Pixels with Fourier positions."""
  bands = (3, MAX_RESOLUTION)
  return image_golden(
    1,
    'image_fourier',
    IMAGE_SHAPE,
    {'prep_type': 'pixels', 'spatial_downsample': 1} | fourier(*bands),
    {'positions': fourier_config(*bands)},
    3 + fourier_channels(*bands),
    query_residual=True,
  )


def image_learned() -> Golden:
  """Pixels through a 1 x 1 convolution, with learned positions, projected."""
  width, table_width, projected = 8, 10, 7
  return image_golden(
    2,
    'image_learned',
    IMAGE_SHAPE,
    {
      'prep_type': 'conv1x1',
      'project_pos_dim': projected,
      'num_channels': width,
      'spatial_downsample': 1,
      'concat_or_add_pos': 'concat',
    }
    | learned(table_width),
    {
      'num_channels': width,
      'positions': {
        'type': 'learned',
        'num_channels': table_width,
        'projected_channels': projected,
      },
    },
    width + projected,
    query_residual=False,
  )


def image_conv() -> Golden:
  """A convolution and max-pooling, 20 x 36 pixels to 5 x 9 inputs."""
  width = 8
  bands = (3, MAX_RESOLUTION)
  return image_golden(
    3,
    'image_conv',
    (20, 36),
    {'prep_type': 'conv', 'num_channels': width} | fourier(*bands),
    {
      'num_channels': width,
      'kernel_size': 7,
      'batch_norm_epsilon': 1e-5,
      'positions': fourier_config(*bands),
    },
    width + fourier_channels(*bands),
    query_residual=True,
  )


def optical_flow() -> Golden:
  """Raw frames in, 3 x 3 patches are cut by the released code."""
  rng = np.random.default_rng(4)
  train_size, width = (5, 9), 8
  rescale_factor, flow_scale_factor = 100.0, 20.0
  bands = (3, MAX_RESOLUTION)
  encoder = ENCODER | {'num_blocks': 1}

  def model(frames, is_training):
    perceiver = Released.perceiver.Perceiver(
      input_preprocessor=Released.io_processors.ImagePreprocessor(
        n_extra_pos_mlp=0,
        prep_type='patches',
        spatial_downsample=1,
        conv_after_patching=True,
        temporal_downsample=2,
        num_channels=width,
        **fourier(*bands),
      ),
      encoder=Released.perceiver.PerceiverEncoder(**encoder),
      decoder=Released.perceiver.FlowDecoder(
        train_size,
        rescale_factor=rescale_factor,
        use_query_residual=False,
        output_num_channels=2,
        output_w_init=jnp.zeros,
        **fourier(*bands),
      ),
    )
    patches = Released.io_processors.patches_for_flow(frames)
    return perceiver(patches, is_training=is_training) * flow_scale_factor

  frames = normal(rng, (2, 2, *train_size, 3))
  weights, latents, flow = run(model, rng, frames=frames)
  channels = width + fourier_channels(*bands)
  config = {
    'architecture': 'optical_flow',
    'image_shape': list(train_size),
    'image_channels': 3,
    'input': {
      'patch_size': 3,
      'num_channels': width,
      'positions': fourier_config(*bands),
    },
    'output_divided_by': rescale_factor,
    'output_multiplied_by': flow_scale_factor,
    **trunk_config(
      encoder,
      channels,
      query_channels=channels,
      output_channels=2,
      query_residual=False,
    ),
  }
  return golden(
    config,
    **weights,
    inputs={'frames': frames},
    outputs={'latents': latents, 'flow': flow},
  )


def multimodal() -> Golden:
  """Video autoencoder; modalities in no particular order."""
  rng = np.random.default_rng(5)
  video_shape, samples_per_patch, num_patches = (3, 12, 20), 4, 9
  num_samples = samples_per_patch * num_patches
  output_channels, label_channels = 14, 18
  grid = (3, 3, 5)  # Of patches of 1 x 4 x 4.
  image_bands, audio_bands = (2, grid), (3, (num_samples,))
  encoder = ENCODER | {'num_blocks': 1, 'name': 'encoder'}
  video = normal(rng, (2, *video_shape, 3))
  audio = normal(rng, (2, num_samples, 1))
  label = np.eye(NUM_CLASSES)[[3, 1]]
  image_points = rng.permutation(math.prod(video_shape))[:12].astype(np.int32)
  audio_points = np.array([8, 0, 5, 3], np.int32)

  def model(image, audio, label, image_points, audio_points, is_training):
    modules, processors = Released.perceiver, Released.io_processors
    preprocessor = processors.MultimodalPreprocessor(
      min_padding_size=4,
      modalities={
        'label': processors.OneHotPreprocessor(),
        'image': processors.ImagePreprocessor(
          n_extra_pos_mlp=0,
          prep_type='patches',
          spatial_downsample=4,
          temporal_downsample=1,
          **fourier(*image_bands),
        ),
        'audio': processors.AudioPreprocessor(
          n_extra_pos_mlp=0,
          prep_type='patches',
          samples_per_patch=samples_per_patch,
          **fourier(*audio_bands),
        ),
      },
      mask_probs={'image': 0.0, 'audio': 0.0, 'label': 1.0},
    )
    postprocessor = processors.MultimodalPostprocessor(
      modalities={
        'label': processors.ClassificationPostprocessor(
          num_classes=NUM_CLASSES
        ),
        'image': processors.ProjectionPostprocessor(num_outputs=3),
        'audio': processors.AudioPostprocessor(
          samples_per_patch=samples_per_patch
        ),
      }
    )
    queries_only = {
      'concat_preprocessed_input': False,
      'num_z_channels': encoder['num_z_channels'],
      'use_query_residual': False,
    }
    decoder = modules.MultimodalDecoder(
      concat_preprocessed_input=False,
      subsampled_index_dims={
        'audio': audio_points.shape[0],
        'image': image_points.shape[0],
        'label': 1,
      },
      modalities={
        'label': modules.ClassificationDecoder(
          num_classes=NUM_CLASSES, **learned(label_channels), **queries_only
        ),
        'image': modules.BasicVideoAutoencodingDecoder(
          subsampled_index_dims=image_points,
          output_shape=image.shape[:4],
          output_num_channels=output_channels,
          **fourier(*image_bands),
          **queries_only,
        ),
        'audio': modules.BasicDecoder(
          subsampled_index_dims=audio_points,
          output_index_dims=(num_patches,),
          output_num_channels=output_channels,
          **fourier(*audio_bands),
          **queries_only,
        ),
      },
      num_outputs=None,
      output_num_channels=output_channels,
      use_query_residual=False,
    )
    perceiver = modules.Perceiver(
      input_preprocessor=preprocessor,
      encoder=modules.PerceiverEncoder(**encoder),
      decoder=decoder,
      output_postprocessor=postprocessor,
    )
    return perceiver(
      {'image': image, 'audio': audio, 'label': label},
      is_training=is_training,
      subsampled_output_points={
        'image': image_points,
        'audio': audio_points,
        'label': None,
      },
    )

  inputs = {
    'image': video,
    'audio': audio,
    'label': label,
    'image_points': image_points,
    'audio_points': audio_points,
  }
  weights, latents, outputs = run(model, rng, **inputs)
  widest_input = 4 * 4 * 3 + fourier_channels(*image_bands)
  config = {
    'architecture': 'multimodal',
    'modality_order': ['audio', 'image', 'label'],
    'num_classes': NUM_CLASSES,
    'video_shape': list(video_shape),
    'video_channels': 3,
    'num_samples': num_samples,
    'samples_per_patch': samples_per_patch,
    'input': {
      'min_padding': 4,
      'num_channels': widest_input + 4,
      'mask_probabilities': {'audio': 0.0, 'image': 0.0, 'label': 1.0},
      'image': {
        'patch_shape': [1, 4, 4],
        'positions': fourier_config(*image_bands),
      },
      'audio': {'positions': fourier_config(*audio_bands)},
    },
    'queries': {
      'min_padding': 2,
      'num_channels': label_channels + 2,
      'image': {
        'grid_shape': list(video_shape),
        'include_end': False,
        'positions': fourier_config(*image_bands),
      },
      'audio': {
        'grid_shape': [num_patches],
        'include_end': False,
        'positions': fourier_config(*audio_bands),
      },
      'label': {
        'positions': {'type': 'learned', 'num_channels': label_channels}
      },
    },
    **trunk_config(
      encoder,
      widest_input + 4,
      query_channels=label_channels + 2,
      output_channels=output_channels,
      query_residual=False,
    ),
  }
  return golden(
    config, **weights, inputs=inputs, outputs={'latents': latents} | outputs
  )


MAKERS: dict[str, Callable[[], Golden]] = {
  'masked_lm': masked_lm,
  'image_fourier': image_fourier,
  'image_learned': image_learned,
  'image_conv': image_conv,
  'optical_flow': optical_flow,
  'multimodal': multimodal,
}


def main() -> int:
  """Writes or checks all files."""
  parser = argument_parser(__doc__)
  parser.add_argument(
    '--code',
    required=True,
    metavar='PATH',
    help='directory that holds the released directory `perceiver`',
  )
  arguments = parser.parse_args()
  jax.config.update('jax_enable_x64', True)
  Released.load(arguments.code)
  return write_or_check('released', MAKERS, arguments.check)


if __name__ == '__main__':
  sys.exit(main())
