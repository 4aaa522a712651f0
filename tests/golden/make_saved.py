"""Golden files of what `save_pretrained` writes, of every Perceiver class.

The released classes of Hugging Face Transformers as they are, at odd sizes:
what they save, and what they compute in float64. A file holds the config.json,
names and shapes of the weights, inputs and outputs; the weights are drawn from
their names, see `golden_files.drawn_weights`.

  pip install -r tests/golden/requirements.txt
  python tests/golden/make_saved.py [--check]
"""

import json
import pathlib
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import transformers
from golden_files import (
  Golden,
  argument_parser,
  drawn_images,
  drawn_weights,
  golden,
  normal,
  write_or_check,
)
from make_huggingface import arrays, patches_3x3
from torch import nn

# No size is a power of two, heads differ, and nothing has its default.
_TRUNK = {
  'num_latents': 5,
  'd_latents': 15,
  'num_blocks': 3,
  'num_self_attends_per_block': 2,
  'num_self_attention_heads': 5,
  'num_cross_attention_heads': 3,
}
GRIDS = ((28, 44), (224, 224))
_NARROW = {'qk_channels': 30, 'v_channels': 15}


def saved(
  kind: type, inputs: Mapping[str, np.ndarray], run: Callable, **settings: Any
) -> Golden:
  """Saves a model, loads it again and runs it.

  Args:
    kind: class of the model.
    inputs: for the file.
    run: model to outputs.
    **settings: of its config.
  """
  config = transformers.PerceiverConfig(**{**_TRUNK, **settings})
  model = kind(config)
  shapes = {name: tuple(x.shape) for name, x in model.state_dict().items()}
  weights = drawn_weights(shapes)
  model.load_state_dict({k: torch.from_numpy(x) for k, x in weights.items()})
  with tempfile.TemporaryDirectory() as folder:
    model.half().save_pretrained(folder)
    text = (pathlib.Path(folder) / 'config.json').read_text()
    model = kind.from_pretrained(folder, dtype=torch.float64).eval()
  described = json.loads(text)
  del described['transformers_version']
  with torch.no_grad():
    outputs = arrays(run(model))
  return golden(
    {'config': described, 'shapes': shapes}, inputs=inputs, outputs=outputs
  )


def masked_lm() -> Golden:
  """Tanh GELU, no residual of the query, wider MLPs."""
  rng = np.random.default_rng(0)
  tokens = rng.integers(37, size=(2, 13))
  mask = np.arange(13) < np.array([[13], [9]])
  return saved(
    transformers.PerceiverForMaskedLM,
    {'tokens': tokens.astype(np.int32), 'mask': mask},
    lambda model: _text(model, tokens, mask),
    **_NARROW,
    d_model=24,
    vocab_size=37,
    max_position_embeddings=13,
    hidden_act='gelu_new',
    use_query_residual=False,
    self_attention_widening_factor=3,
    cross_attention_widening_factor=2,
  )


def text_classification() -> Golden:
  """Of bytes; widths of queries and keys follow the inputs."""
  rng = np.random.default_rng(1)
  tokens = rng.integers(262, size=(2, 13))
  mask = np.arange(13) < np.array([[13], [9]])
  return saved(
    transformers.PerceiverForSequenceClassification,
    {'tokens': tokens.astype(np.int32), 'mask': mask},
    lambda model: _text(model, tokens, mask),
    d_model=9,
    max_position_embeddings=13,
    id2label={0: 'sad', 1: 'so so', 2: 'glad'},
  )


def _text(
  model: nn.Module, tokens: np.ndarray, mask: np.ndarray
) -> dict[str, torch.Tensor]:
  made = model(
    inputs=torch.from_numpy(tokens),
    attention_mask=torch.from_numpy(mask.astype(np.int64)),
  )
  return {'logits': made.logits}


def image_fourier() -> Golden:
  """Widths of queries and keys follow the latents."""
  images = normal(np.random.default_rng(2), (2, 5, 9, 3))
  return saved(
    transformers.PerceiverForImageClassificationFourier,
    {'images': images},
    lambda model: _images(model, images),
    cross_attention_shape_for_attention='q',
    num_labels=7,
  )


def image_learned() -> Golden:
  """Positions of 5 x 5 pixels."""
  images = normal(np.random.default_rng(3), (2, 5, 5, 3))
  return saved(
    transformers.PerceiverForImageClassificationLearned,
    {'images': images},
    lambda model: _images(model, images),
    **_NARROW,
    image_size=5,
    num_labels=7,
  )


def image_conv() -> Golden:
  """As it is, and with the padding of the authors' code.

  A convolution padded by 3 on all sides and a pooling padded nowhere leave
  4 x 8 inputs of 20 x 36 pixels. 'SAME' padding in both leaves 5 x 9.
  """
  images = normal(np.random.default_rng(4), (2, 20, 36, 3))

  def run(model: nn.Module) -> dict[str, torch.Tensor]:
    made = _images(model, images) | _on_grids(model)
    convnet = model.perceiver.input_preprocessor.convnet
    convnet.conv.zero_pad_2d = nn.ZeroPad2d((2, 3, 2, 3))
    pad = nn.ZeroPad2d((0, 1, 0, 1))
    convnet.max_pool = nn.Sequential(pad, convnet.max_pool)
    same = _images(model, images) | _on_grids(model)
    return made | {f'{name}_same_padding': x for name, x in same.items()}

  return saved(
    transformers.PerceiverForImageClassificationConvProcessing,
    {'images': images},
    run,
    **_NARROW,
    num_labels=7,
  )


def _images(model: nn.Module, images: np.ndarray) -> dict[str, torch.Tensor]:
  made = model(inputs=torch.from_numpy(images).permute(0, 3, 1, 2))
  return {'logits': made.logits}


def _on_grids(model: nn.Module) -> dict[str, torch.Tensor]:
  """Logits of drawn images of further sizes."""
  return {
    f'logits_{height}x{width}': _images(model, drawn_images(height, width))[
      'logits'
    ]
    for height, width in GRIDS
  }


def optical_flow() -> Golden:
  """Frames of 5 x 9 pixels."""
  frames = normal(np.random.default_rng(5), (2, 2, 5, 9, 3))

  def run(model: nn.Module) -> dict[str, torch.Tensor]:
    patches = torch.from_numpy(patches_3x3(frames)).permute(0, 1, 4, 2, 3)
    return {'flow': model(inputs=patches.contiguous()).logits}

  return saved(
    transformers.PerceiverForOpticalFlow,
    {'frames': frames},
    run,
    train_size=[5, 9],
    **_NARROW,
  )


def multimodal() -> Golden:
  """3 frames of 12 x 20 pixels, 36 samples, 5 classes; some of the outputs."""
  rng = np.random.default_rng(6)
  video, audio = normal(rng, (2, 3, 12, 20, 3)), normal(rng, (2, 36, 1))
  label = np.eye(5)[[3, 1]]
  points = {'image': rng.permutation(720)[:12], 'audio': np.array([8, 0, 5, 3])}

  def run(model: nn.Module) -> dict[str, torch.Tensor]:
    chosen = {k: torch.from_numpy(v) for k, v in points.items()}
    made = model(
      inputs={
        'label': torch.from_numpy(label),
        'image': torch.from_numpy(video).permute(0, 1, 4, 2, 3),
        'audio': torch.from_numpy(audio),
      },
      subsampled_output_points=chosen | {'label': None},
    )
    return made.logits

  return saved(
    transformers.PerceiverForMultimodalAutoencoding,
    {
      'image': video,
      'audio': audio,
      'label': label.argmax(axis=-1).astype(np.int32),
      'image_points': points['image'].astype(np.int32),
      'audio_points': points['audio'].astype(np.int32),
    },
    run,
    **_NARROW,
    num_frames=3,
    image_size=7,
    audio_samples_per_frame=12,
    samples_per_patch=4,
    output_shape=[1, 3, 12, 20],
    output_num_channels=14,
    num_labels=5,
    _label_trainable_num_channels=19,
  )


MAKERS: dict[str, Callable[[], Golden]] = {
  'masked_lm': masked_lm,
  'text_classification': text_classification,
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
  return write_or_check('saved', MAKERS, arguments.check)


if __name__ == '__main__':
  sys.exit(main())
