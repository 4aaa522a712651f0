"""MNIST-5k digits, pixel by pixel: the run that works everywhere.

  python -m experiments.train --config=experiments/configs/digits.py

Nothing is downloaded; the 5,000 digits come with the package.
On 2 CPU cores: 96.1 % of the held-out digits after 6 min 16 s (seed 0).
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = ml_collections.ConfigDict()
  config.task = 'classification'
  config.seed = 0
  config.batch_size = 64
  config.train_steps = 3600
  config.log_every = 100
  config.eval_every = 600
  config.checkpoint_every = 600
  config.data_workers = 0

  config.data = dict(
    name='digits',
    max_rotation=10.0,
    max_shear=0.1,
    max_scale=0.1,
    max_shift=1.5,
  )
  # Half the Nyquist frequency of 28 pixels: bands that are at most 1 apart tell
  # all positions from each other, and low ones are learned fastest.
  positions = dict(
    name='fourier', num_bands=8, max_resolution=(14, 14), spacing='linear'
  )
  config.inputs = dict(image=dict(name='pixels', positions=positions))
  config.encoder = dict(
    num_latents=32,
    latent_channels=64,
    cross_attends=(1, 1),
    self_attends_per_block=2,
    self_attend_heads=2,
    cross_attend_qk_channels=96,
    rematerialize='none',
  )
  config.loss = dict(name='softmax', label_smoothing=0.0)
  config.optimizer = dict(
    name='adamw', weight_decay=0.05, b2=0.95, clip_norm=1.0
  )
  config.schedule = dict(name='cosine', learning_rate=3e-3, warmup_steps=50)
  config.checkpoints = dict(
    keep_last=2, best_metric='eval/accuracy', best_mode='max'
  )
  return config
