"""Golden files from the Perceiver models of Hugging Face Transformers.

Small models with random weights, run in float64 in evaluation mode. Needs
PyTorch and Transformers, in an environment of their own (made with torch
2.13.0 and transformers 5.23.0, on a CPU):

  pip install torch transformers numpy
  python tests/golden/make_huggingface.py [--check]

Keys, layouts and the places where these models differ from those of their
authors are described in the README of this folder.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from golden_files import (
  Golden,
  argument_parser,
  golden,
  normal,
  parameter,
  positive,
  write_or_check,
)
from torch import nn
from transformers import PerceiverConfig, PerceiverForMaskedLM, PerceiverModel
from transformers.models.perceiver import modeling_perceiver as huggingface

NUM_CLASSES = 5
IMAGE_SHAPE = (5, 9)  # The positions of 5 and 9 points are exact in float32.
MAX_RESOLUTION = (6, 12)


class Wrapped(nn.Module):
  """Gives parameters the prefix that they have in the released classes.

  Those classes hard-code sizes (224 x 224 pixels, 64 bands, ...); here their
  parts are put together in the same way.
  """

  def __init__(self, perceiver: PerceiverModel):
    super().__init__()
    self.perceiver = perceiver


def small_config(**settings: Any) -> PerceiverConfig:
  """A small trunk, dropout off."""
  defaults = {
    'num_latents': 6,
    'd_latents': 16,
    'num_blocks': 2,
    'num_self_attends_per_block': 2,
    'num_self_attention_heads': 4,
    'num_cross_attention_heads': 1,
    'attention_probs_dropout_prob': 0.0,
    'num_labels': NUM_CLASSES,
  }
  return PerceiverConfig(**(defaults | settings))


def randomise(model: nn.Module, rng: np.random.Generator) -> None:
  """Draws every parameter and statistic, in order of their names."""
  tables = ('latents', 'position_embeddings', 'embeddings', 'padding', 'mask')
  with torch.no_grad():
    for name, value in sorted(model.named_parameters()):
      shape = tuple(value.shape)
      if any(part in tables for part in name.split('.')[-2:]):
        drawn = parameter(rng, 'table', shape)
      elif name.endswith('bias'):
        drawn = parameter(rng, 'bias', shape)
      elif len(shape) == 1:
        drawn = parameter(rng, 'scale', shape)
      else:
        drawn = parameter(rng, 'weight', shape, int(np.prod(shape[1:])))
      value.copy_(torch.from_numpy(drawn))
    for name, value in sorted(model.named_buffers()):
      if name.endswith('running_mean'):
        value.copy_(torch.from_numpy(normal(rng, value.shape)))
      if name.endswith('running_var'):
        value.copy_(torch.from_numpy(positive(rng, value.shape)))
      if name.endswith('num_batches_tracked'):
        value.fill_(7)


def ready(model: nn.Module, rng: np.random.Generator) -> nn.Module:
  """Random weights, float64, evaluation."""
  model = model.double().eval()
  randomise(model, rng)
  return model


def arrays(
  named: dict[str, torch.Tensor] | Any,
) -> dict[str, np.ndarray]:
  """Tensors, or pairs of name and tensor, to arrays."""
  return {k: v.detach().numpy().copy() for k, v in dict(named).items()}


def weights(model: nn.Module) -> dict[str, dict[str, np.ndarray]]:
  """Groups 'params' and 'state' of a file."""
  return {
    'params': arrays(model.named_parameters()),
    'state': arrays(model.named_buffers()),
  }


def attend_config(layer: nn.Module) -> dict[str, Any]:
  """Hyperparameters of an attention layer, as it was built."""
  attention = layer.attention.self
  return {
    'num_heads': attention.num_heads,
    'query_channels': attention.query.in_features,
    'input_channels': attention.key.in_features,
    'qk_channels': attention.qk_channels,
    'v_channels': attention.v_channels,
    'widening_factor': layer.mlp.dense1.out_features
    // layer.mlp.dense1.in_features,
    'query_residual': layer.attention.use_query_residual,
  }


def trunk_config(model: nn.Module, decoder: nn.Module) -> dict[str, Any]:
  """Hyperparameters of latents, encoder and decoder, as they were built."""
  perceiver = model.perceiver
  num_latents, latent_channels = perceiver.embeddings.latents.shape
  final = decoder.final_layer
  return {
    'num_latents': num_latents,
    'latent_channels': latent_channels,
    'num_blocks': perceiver.config.num_blocks,
    'num_layers': len(perceiver.encoder.self_attends),
    'approximate_gelu': False,
    'cross_attend': attend_config(perceiver.encoder.cross_attention),
    'self_attend': attend_config(perceiver.encoder.self_attends[0]),
    'decoder': attend_config(decoder.decoding_cross_attention)
    | {'output_channels': getattr(final, 'out_features', None)},
  }


def fourier(num_bands: int, max_resolution: tuple[int, ...]) -> dict[str, Any]:
  """Arguments of a Fourier position encoding."""
  return {
    'num_bands': num_bands,
    'max_resolution': max_resolution,
    'concat_pos': True,
    'sine_only': False,
  }


def fourier_config(
  num_bands: int, max_resolution: tuple[int, ...]
) -> dict[str, Any]:
  """What a file says of a Fourier position encoding."""
  return {
    'type': 'fourier',
    'num_bands': num_bands,
    'max_resolution': list(max_resolution),
  }


def masked_lm() -> Golden:
  """The released class, which hard-codes only its decoder's 8 heads of 32."""
  rng = np.random.default_rng(0)
  length, vocab_size, width = 20, 50, 16
  model = PerceiverForMaskedLM(
    small_config(
      num_latents=7,
      d_latents=24,
      d_model=width,
      num_blocks=1,
      num_self_attends_per_block=3,
      num_cross_attention_heads=2,
      qk_channels=8,
      v_channels=24,
      vocab_size=vocab_size,
      max_position_embeddings=length,
    )
  )
  model = ready(model, rng)
  tokens = rng.integers(vocab_size, size=(3, length))
  mask = np.arange(length) < np.array([[20], [13], [17]])
  mask[2, 4:7] = False
  with torch.no_grad():
    made = model(
      inputs=torch.from_numpy(tokens),
      attention_mask=torch.from_numpy(mask.astype(np.int64)),
      output_hidden_states=True,
    )
  config = {
    'architecture': 'masked_lm',
    'vocab_size': vocab_size,
    'max_length': length,
    'embedding_channels': width,
    **trunk_config(model, model.perceiver.decoder),
  }
  return golden(
    config,
    **weights(model),
    inputs={'tokens': tokens.astype(np.int32), 'mask': mask},
    outputs=arrays({'latents': made.hidden_states[-1], 'logits': made.logits}),
  )


def image_model(rng: np.random.Generator, **preprocessing: Any) -> nn.Module:
  """An image classifier of the parts of the released classes."""
  config = small_config()
  model = PerceiverModel(
    config,
    input_preprocessor=huggingface.PerceiverImagePreprocessor(
      config, **preprocessing
    ),
    decoder=huggingface.PerceiverClassificationDecoder(
      config,
      num_channels=config.d_latents,
      trainable_position_encoding_kwargs={
        'num_channels': config.d_latents,
        'index_dims': 1,
      },
      use_query_residual=True,
    ),
  )
  return ready(Wrapped(model), rng)


def run_images(model: nn.Module, images: np.ndarray) -> dict[str, np.ndarray]:
  """Latents and logits of channels-last images."""
  with torch.no_grad():
    made = model.perceiver(torch.from_numpy(images).permute(0, 3, 1, 2))
  return arrays({'latents': made.last_hidden_state, 'logits': made.logits})


def image_config(
  model: nn.Module,
  architecture: str,
  image_shape: tuple[int, int],
  **preprocessing: Any,
) -> dict[str, Any]:
  """Hyperparameters of an image classifier."""
  return {
    'architecture': architecture,
    'image_shape': list(image_shape),
    'image_channels': 3,
    'num_classes': NUM_CLASSES,
    'input': preprocessing,
    **trunk_config(model, model.perceiver.decoder.decoder),
  }


def image_fourier() -> Golden:
  """PerceiverForImageClassificationFourier; with gradients."""
  rng = np.random.default_rng(1)
  bands = (3, MAX_RESOLUTION)
  model = image_model(
    rng,
    prep_type='pixels',
    spatial_downsample=1,
    fourier_position_encoding_kwargs=fourier(*bands),
  )
  images = normal(rng, (2, *IMAGE_SHAPE, 3))
  cotangent = normal(rng, (2, NUM_CLASSES))
  leaf = torch.from_numpy(images).requires_grad_()
  logits = model.perceiver(leaf.permute(0, 3, 1, 2)).logits
  (logits * torch.from_numpy(cotangent)).sum().backward()
  gradients = {k: v.grad for k, v in model.named_parameters()}
  return golden(
    image_config(
      model,
      'image_fourier',
      IMAGE_SHAPE,
      positions=fourier_config(*bands),
    ),
    **weights(model),
    inputs={'images': images, 'logits_cotangent': cotangent},
    outputs=run_images(model, images),
    gradients=arrays(gradients | {'inputs/images': leaf.grad}),
  )


def image_learned() -> Golden:
  """PerceiverForImageClassificationLearned."""
  rng = np.random.default_rng(2)
  # The width of the table before its projection is tied to that of the pixels.
  width, projected = 10, 7
  model = image_model(
    rng,
    prep_type='conv1x1',
    spatial_downsample=1,
    out_channels=width,
    position_encoding_type='trainable',
    concat_or_add_pos='concat',
    project_pos_dim=projected,
    trainable_position_encoding_kwargs={
      'num_channels': width,
      'index_dims': IMAGE_SHAPE[0] * IMAGE_SHAPE[1],
    },
  )
  images = normal(rng, (2, *IMAGE_SHAPE, 3))
  outputs = run_images(model, images)
  config = image_config(
    model,
    'image_learned',
    IMAGE_SHAPE,
    num_channels=width,
    positions={
      'type': 'learned',
      'num_channels': width,
      'projected_channels': projected,
    },
  )
  # The authors' notebook has no query residual here.
  layer = model.perceiver.decoder.decoder.decoding_cross_attention
  layer.attention.use_query_residual = False
  released = run_images(model, images)['logits']
  return golden(
    config,
    **weights(model),
    inputs={'images': images},
    outputs=outputs | {'logits_without_query_residual': released},
  )


def image_conv() -> Golden:
  """PerceiverForImageClassificationConvProcessing, and with its padding fixed.

  After a convolution padded by 3 on all sides and a pooling padded nowhere,
  20 x 36 pixels leave 4 x 8 inputs. 'SAME' padding in both, as the models were
  trained, leaves 5 x 9.
  """
  rng = np.random.default_rng(3)
  image_shape, width = (20, 36), 8
  bands = (3, MAX_RESOLUTION)
  model = image_model(
    rng,
    prep_type='conv',
    spatial_downsample=1,
    position_encoding_type='fourier',
    out_channels=width,
    fourier_position_encoding_kwargs=fourier(*bands),
  )
  images = normal(rng, (2, *image_shape, 3))
  outputs = run_images(model, images)
  convnet = model.perceiver.input_preprocessor.convnet
  convnet.conv.zero_pad_2d = nn.ZeroPad2d((2, 3, 2, 3))
  convnet.max_pool = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), convnet.max_pool)
  same = run_images(model, images)
  return golden(
    image_config(
      model,
      'image_conv',
      image_shape,
      num_channels=width,
      kernel_size=7,
      batch_norm_epsilon=convnet.batchnorm.eps,
      positions=fourier_config(*bands),
    ),
    **weights(model),
    inputs={'images': images},
    outputs=outputs | {f'{k}_same_padding': v for k, v in same.items()},
  )


def patches_3x3(frames: np.ndarray) -> np.ndarray:
  """Neighbourhoods of pixels, zeros beyond the border.

  Args:
    frames: `[B, 2, H, W, C]`.

  Returns:
    `[B, 2, H, W, 3 x 3 x C]`: rows of the patch, its columns, channels.
  """
  height, width = frames.shape[2:4]
  padded = np.pad(frames, [(0, 0), (0, 0), (1, 1), (1, 1), (0, 0)])
  shifted = [
    padded[:, :, i : i + height, j : j + width]
    for i in range(3)
    for j in range(3)
  ]
  return np.concatenate(shifted, axis=-1)


def optical_flow() -> Golden:
  """PerceiverForOpticalFlow; raw frames are kept, it takes their patches."""
  rng = np.random.default_rng(4)
  train_size, width, rescale_factor = (5, 9), 8, 100.0
  bands = (3, MAX_RESOLUTION)
  config = small_config(num_blocks=1, train_size=train_size)
  preprocessor = huggingface.PerceiverImagePreprocessor(
    config,
    prep_type='patches',
    spatial_downsample=1,
    temporal_downsample=2,
    conv_after_patching=True,
    conv_after_patching_in_channels=2 * 3 * 3 * 3,
    out_channels=width,
    position_encoding_type='fourier',
    fourier_position_encoding_kwargs=fourier(*bands),
  )
  decoder = huggingface.PerceiverOpticalFlowDecoder(
    config,
    num_channels=preprocessor.num_channels,
    output_image_shape=train_size,
    rescale_factor=rescale_factor,
    use_query_residual=False,
    output_num_channels=2,
    position_encoding_type='fourier',
    fourier_position_encoding_kwargs=fourier(*bands),
  )
  model = Wrapped(
    PerceiverModel(config, input_preprocessor=preprocessor, decoder=decoder)
  )
  model = ready(model, rng)
  frames = normal(rng, (2, 2, *train_size, 3))
  patches = torch.from_numpy(patches_3x3(frames)).permute(0, 1, 4, 2, 3)
  with torch.no_grad():
    made = model.perceiver(patches.contiguous())
  settings = {
    'architecture': 'optical_flow',
    'image_shape': list(train_size),
    'image_channels': 3,
    'input': {
      'patch_size': 3,
      'num_channels': width,
      'positions': fourier_config(*bands),
    },
    'output_divided_by': rescale_factor,
    'output_multiplied_by': 1.0,
    **trunk_config(model, decoder.decoder),
  }
  return golden(
    settings,
    **weights(model),
    inputs={'frames': frames},
    outputs=arrays({'latents': made.last_hidden_state, 'flow': made.logits}),
  )


def multimodal() -> Golden:
  """PerceiverForMultimodalAutoencoding; modalities in no particular order."""
  rng = np.random.default_rng(5)
  video_shape, samples_per_patch, num_patches = (3, 12, 20), 4, 9
  num_samples = samples_per_patch * num_patches
  output_channels, label_channels = 14, 18
  grid = (3, 3, 5)  # Of patches of 1 x 4 x 4.
  image_bands, audio_bands = (2, grid), (3, (num_samples,))
  config = small_config(num_blocks=1, samples_per_patch=samples_per_patch)
  preprocessor = huggingface.PerceiverMultimodalPreprocessor(
    min_padding_size=4,
    modalities={
      'label': huggingface.PerceiverOneHotPreprocessor(config),
      'image': huggingface.PerceiverImagePreprocessor(
        config,
        position_encoding_type='fourier',
        fourier_position_encoding_kwargs=fourier(*image_bands),
        prep_type='patches',
        spatial_downsample=4,
        temporal_downsample=1,
      ),
      'audio': huggingface.PerceiverAudioPreprocessor(
        config,
        position_encoding_type='fourier',
        fourier_position_encoding_kwargs=fourier(*audio_bands),
        prep_type='patches',
        samples_per_patch=samples_per_patch,
      ),
    },
    mask_probs={'label': 1.0, 'image': 0.0, 'audio': 0.0},
  )
  queries_only = {
    'concat_preprocessed_input': False,
    'use_query_residual': False,
    'position_encoding_only': True,
  }
  decoder = huggingface.PerceiverMultimodalDecoder(
    config,
    concat_preprocessed_input=False,
    modalities={
      'label': huggingface.PerceiverClassificationDecoder(
        config,
        position_encoding_type='trainable',
        trainable_position_encoding_kwargs={
          'num_channels': label_channels,
          'index_dims': 1,
        },
        **queries_only,
      ),
      'image': huggingface.PerceiverBasicVideoAutoencodingDecoder(
        config,
        output_shape=[2, *video_shape],
        output_num_channels=output_channels,
        position_encoding_type='fourier',
        fourier_position_encoding_kwargs=fourier(*image_bands),
        **queries_only,
      ),
      'audio': huggingface.PerceiverBasicDecoder(
        config,
        output_index_dims=(num_patches,),
        output_num_channels=output_channels,
        position_encoding_type='fourier',
        fourier_position_encoding_kwargs=fourier(*audio_bands),
        **queries_only,
      ),
    },
    num_outputs=None,
    output_num_channels=output_channels,
    use_query_residual=False,
  )
  postprocessor = huggingface.PerceiverMultimodalPostprocessor(
    modalities={
      'label': huggingface.PerceiverClassificationPostprocessor(
        config, in_channels=output_channels
      ),
      'image': huggingface.PerceiverProjectionPostprocessor(
        in_channels=output_channels, out_channels=3
      ),
      'audio': huggingface.PerceiverAudioPostprocessor(
        config, in_channels=output_channels
      ),
    }
  )
  model = Wrapped(
    PerceiverModel(
      config,
      input_preprocessor=preprocessor,
      decoder=decoder,
      output_postprocessor=postprocessor,
    )
  )
  model = ready(model, rng)

  video = normal(rng, (2, *video_shape, 3))
  audio = normal(rng, (2, num_samples, 1))
  label = np.eye(NUM_CLASSES)[[3, 1]]
  points = {
    'image': rng.permutation(int(np.prod(video_shape)))[:12],
    'audio': np.array([8, 0, 5, 3]),
  }
  with torch.no_grad():
    made = model.perceiver(
      {
        'label': torch.from_numpy(label),
        'image': torch.from_numpy(video).permute(0, 1, 4, 2, 3),
        'audio': torch.from_numpy(audio),
      },
      subsampled_output_points={
        k: torch.from_numpy(v) for k, v in points.items()
      }
      | {'label': None},
    )
  settings = {
    'architecture': 'multimodal',
    'modality_order': ['audio', 'image', 'label'],
    'num_classes': NUM_CLASSES,
    'video_shape': list(video_shape),
    'video_channels': 3,
    'num_samples': num_samples,
    'samples_per_patch': samples_per_patch,
    'input': {
      'min_padding': 4,
      'num_channels': preprocessor.num_channels,
      'mask_probabilities': {'audio': 0.0, 'image': 0.0, 'label': 1.0},
      'image': {
        'patch_shape': [1, 4, 4],
        'positions': fourier_config(*image_bands),
      },
      'audio': {'positions': fourier_config(*audio_bands)},
    },
    'queries': {
      'min_padding': 2,
      'num_channels': decoder.num_query_channels,
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
    **trunk_config(model, decoder.decoder),
  }
  return golden(
    settings,
    **weights(model),
    inputs={
      'image': video,
      'audio': audio,
      'label': label,
      'image_points': points['image'].astype(np.int32),
      'audio_points': points['audio'].astype(np.int32),
    },
    outputs=arrays({'latents': made.last_hidden_state} | made.logits),
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
  arguments = argument_parser(__doc__).parse_args()
  torch.set_num_threads(1)
  torch.set_default_dtype(torch.float64)  # Of frequency bands and coordinates.
  return write_or_check('huggingface', MAKERS, arguments.check)


if __name__ == '__main__':
  sys.exit(main())
