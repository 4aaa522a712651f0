"""ImageNet classification with the models that the first paper compares with.

  python -m experiments.train \
    --config=experiments/configs/imagenet_baselines.py:resnet50_ff
  ... --config=experiments/configs/imagenet_baselines.py:vit_b16_ff_permuted

Top-1 in tables 1 and 2 of arXiv 2103.03206, raw and with all pixels in one
fixed random order, after their positions are attached; this code has trained
none of them on ImageNet yet. Variants, each also with `_permuted`:
  resnet50_rgb: pixels alone. 77.6 raw, from the literature.
  resnet50_ff: pixels and Fourier features of their positions, as the
    Perceiver's. 73.5 raw, 39.4 permuted.
  vit_b16_rgb: pixels alone. 77.9 raw, from the literature.
  vit_b16_ff: with Fourier features. 76.7 raw, 61.7 permuted.
  transformer64: a Transformer over all pixels of images shrunk to 64 x 64, with
    Fourier features. 57.0 either way, as its inputs are a set.

What the paper does not state, and what is chosen here: optimizer, schedule and
augmentation, which are those of its Perceiver (each model was tuned by itself
there); size of the Transformer, whose layers are 'of the same design' as the
latent Transformer's: 8 layers of 512 channels; its bands, here up to the
Nyquist frequency of 64 pixels; how a ViT takes Fourier features, here as
channels of the patches, beside its own learned positions.
"""

import ml_collections

_VIT = dict(name='vit', grid_shape=(224, 224), rematerialize='elementwise')
_RESNET = dict(name='resnet', grid_shape=(224, 224))
_NONE = dict(name='none')
_FOURIER = dict(name='fourier', num_bands=64, max_resolution=(224, 224))
# Side of the images, positions, model.
_MODELS = {
  'resnet50_rgb': (224, _NONE, _RESNET),
  'resnet50_ff': (224, _FOURIER, _RESNET),
  'vit_b16_rgb': (224, _NONE, dict(_VIT, patch_size=16)),
  'vit_b16_ff': (224, _FOURIER, dict(_VIT, patch_size=16)),
  'transformer64': (
    64,
    dict(_FOURIER, max_resolution=(64, 64)),
    dict(
      name='transformer',
      num_channels=512,
      num_layers=8,
      num_heads=8,
      rematerialize='elementwise',
    ),
  ),
}
_PERMUTED = '_permuted'
_TRAIN_IMAGES = 1_281_167
_EPOCHS = 120
_BATCH_SIZE = 1024


def get_config(variant: str = 'resnet50_ff') -> ml_collections.ConfigDict:
  """Returns the experiment.

  Args:
    variant: see above.

  Raises:
    ValueError: there is no such variant.
  """
  name = variant.removesuffix(_PERMUTED)
  if name not in _MODELS:
    raise ValueError(
      f"The variants are {list(_MODELS)}, each also with '{_PERMUTED}', got "
      f'{variant!r}.'
    )
  image_size, positions, baseline = _MODELS[name]
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
    image_size=image_size,
    randaugment_layers=4,
    randaugment_magnitude=5.0,
    mixup_alpha=0.0,
    cutmix=False,
  )
  image = dict(name='pixels', positions=positions)
  if variant != name:
    image.update(name='permuted_pixels', seed=0)
  config.inputs = dict(image=image)
  config.baseline = baseline
  config.loss = dict(name='softmax', label_smoothing=0.0)
  config.optimizer = dict(name='lamb', weight_decay=0.1, clip_norm=10.0)
  config.schedule = dict(
    name='step',
    learning_rate=4e-3,
    boundaries=(84 / _EPOCHS, 102 / _EPOCHS, 114 / _EPOCHS),
    factor=0.1,
  )
  config.checkpoints = dict(
    keep_last=2, best_metric='eval/accuracy', best_mode='max'
  )
  return config
