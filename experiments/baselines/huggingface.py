"""The Perceiver models of Hugging Face `transformers`, for benchmarks.

PyTorch and transformers are not among this project's requirements; where they
are installed, `experiments.benchmark` runs these models beside ours.
"""

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np


class Baseline(NamedTuple):
  """A model to time; every call waits for its result.

  Attributes:
    forward: without gradient.
    forward_and_backward: the gradient of the sum of squared outputs.
  """

  forward: Callable[[], None]
  forward_and_backward: Callable[[], None]


# Arguments of PerceiverConfig and the class, by what the inputs of our config
# are; sizes are those of `perceiver_jax.published`.
_IMAGE = dict(
  num_latents=512,
  d_latents=1024,
  num_blocks=8,
  num_self_attends_per_block=6,
  num_self_attention_heads=8,
  num_cross_attention_heads=1,
  cross_attention_shape_for_attention='kv',
  self_attention_widening_factor=1,
  cross_attention_widening_factor=1,
  attention_probs_dropout_prob=0.0,
  num_labels=1000,
)
MODELS: Mapping[str, tuple[str, dict[str, Any]]] = {
  'imagenet_io:fourier': (
    'PerceiverForImageClassificationFourier',
    _IMAGE | dict(d_model=261),
  ),
  'imagenet_io:learned': (
    'PerceiverForImageClassificationLearned',
    _IMAGE | dict(d_model=512),
  ),
  'imagenet_io:conv': (
    'PerceiverForImageClassificationConvProcessing',
    _IMAGE | dict(d_model=322),
  ),
  'language:bytes': (
    'PerceiverForMaskedLM',
    dict(attention_probs_dropout_prob=0.0),
  ),
}


def installed() -> bool:
  """Whether PyTorch and transformers can be imported."""
  return all(
    importlib.util.find_spec(name) is not None
    for name in ('torch', 'transformers')
  )


def make_baseline(name: str, batch_size: int) -> Baseline:
  """Builds a model with random weights and a random batch.

  Args:
    name: a key of `MODELS`.
    batch_size: examples of the batch.
  """
  import torch
  import transformers

  class_name, arguments = MODELS[name]
  config = transformers.PerceiverConfig(**arguments)
  model = getattr(transformers, class_name)(config)
  rng = np.random.default_rng(0)
  if name.startswith('language'):
    shape = (batch_size, config.max_position_embeddings)
    inputs = torch.from_numpy(rng.integers(6, 262, shape))
  else:
    shape = (batch_size, 3, 224, 224)
    inputs = torch.from_numpy(rng.normal(size=shape).astype(np.float32))

  def forward() -> None:
    with torch.no_grad():
      model(inputs=inputs)

  def forward_and_backward() -> None:
    model.zero_grad()
    model(inputs=inputs).logits.square().sum().backward()

  return Baseline(forward, forward_and_backward)
