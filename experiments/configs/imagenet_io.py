"""ImageNet classification with Perceiver IO.

  python -m experiments.train --config=experiments/configs/imagenet_io.py
  ... --config=experiments/configs/imagenet_io.py:learned
  ... --config=experiments/configs/imagenet_io.py:conv
  ... --config=experiments/configs/imagenet_io.py:jft

The published run (arXiv 2107.14795, section 4.4, appendix A.1, table 7): LAMB
2e-3 for 110 epochs of 1,024 images, flat for half of them, then a cosine;
weight decay 0.1, clipping at 10, RandAugment of 4 layers of magnitude 5, CutMix
and MixUp, here with equal chance for each example; the released code smooths
labels by 0.1. This code has not been trained on ImageNet yet.

Variants, with the paper's top-1 accuracy:
  fourier: Fourier features of the pixels' positions, 79.0 % (the default).
  learned: a learned position table, RGB through a 1 x 1 convolution, 72.7 %.
  conv: a convolution and max-pooling first, 82.1 %.
  jft: the larger model that was pre-trained on JFT (84.5 %), from scratch.
"""

import ml_collections

from perceiver_jax import published

_MODELS = {
  'fourier': published.IMAGENET_IO,
  'learned': published.IMAGENET_IO_LEARNED,
  'conv': published.IMAGENET_IO_CONV,
  'jft': published.IMAGENET_IO_JFT,
}
_TRAIN_IMAGES = 1_281_167
_EPOCHS = 110
_BATCH_SIZE = 1024


def get_config(variant: str = 'fourier') -> ml_collections.ConfigDict:
  """Returns the experiment.

  Args:
    variant: 'fourier', 'learned', 'conv' or 'jft'.

  Raises:
    ValueError: there is no such variant.
  """
  if variant not in _MODELS:
    raise ValueError(f'The variants are {list(_MODELS)}, got {variant!r}.')
  steps_per_epoch = _TRAIN_IMAGES // _BATCH_SIZE
  config = ml_collections.ConfigDict()
  config.task = 'classification'
  config.seed = 0
  config.batch_size = _BATCH_SIZE
  config.train_steps = _EPOCHS * steps_per_epoch
  config.log_every = 100
  config.eval_every = steps_per_epoch
  config.checkpoint_every = 500
  config.data_workers = 16

  config.data = dict(
    name='imagenet',
    image_size=224,
    randaugment_layers=4,
    randaugment_magnitude=5.0,
    mixup_alpha=0.2,
    cutmix=True,
  )
  config.update(_MODELS[variant])
  config.encoder.rematerialize = 'elementwise'
  config.compute_dtype = 'bfloat16'
  config.loss = dict(name='softmax', label_smoothing=0.1)
  config.optimizer = dict(name='lamb', weight_decay=0.1, clip_norm=10.0)
  config.schedule = dict(name='flat_then_cosine', learning_rate=2e-3, flat=0.5)
  config.checkpoints = dict(
    keep_last=2, best_metric='eval/accuracy', best_mode='max'
  )
  return config
