"""Baselines of the papers' tables by the names that configs give them."""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from experiments.baselines.resnet import ResNet
from experiments.baselines.transformer import Transformer
from experiments.baselines.vit import VisionTransformer
from experiments.host.configuration import choose

_BASELINES: dict[str, Callable[..., Any]] = {
  'resnet': ResNet,
  'transformer': Transformer,
  'vit': VisionTransformer,
}


def make_baseline(
  baseline: Mapping[str, Any], num_classes: int
) -> Callable[..., jax.Array]:
  """Returns a classifier of byte arrays that is not a Perceiver.

  Args:
    baseline: a config's section: a name, and arguments of the module.
    num_classes: number of classes.

  Returns:
    Takes `(byte_array, is_training=...)`; returns logits `[B, num_classes]`.
  """
  return choose(
    'baseline', _BASELINES, baseline, given={'num_classes': num_classes}
  )
