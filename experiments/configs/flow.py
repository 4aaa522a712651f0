"""Optical flow with Perceiver IO.

  python -m experiments.describe --config=experiments/configs/optical_flow.py

There is no input pipeline for flow here yet; the models can be described, and
the released weights of 'patches' imported.

The published run (arXiv 2107.14795, section 4.2, appendix H): 400,000 pairs of
AutoFlow, 480 epochs in batches of 512, LAMB 4e-4 with a cosine.

Variants, with the paper's end-point error on Sintel clean, final and KITTI:
  patches: 3 x 3, frames concatenated, 1.81, 2.42, 4.98 (the default).
  patches_separate: frames apart, 1.78, 2.70, 6.19.
  pixels: without neighbours, 1.91, 2.56, 5.39.
  pixels_separate: 1.72, 2.63, 5.93.
  conv: a convolution first, upsampling last, 1.84, 2.52, 4.83.
  conv_separate: 1.90, 2.53, 6.66.
  conv_light: 16 layers, 1,024 latents, 2.06, 2.67, 6.12.
"""

import ml_collections

from perceiver_jax import published

_MODELS = {
  'patches': published.FLOW,
  'patches_separate': published.FLOW_SEPARATE,
  'pixels': published.FLOW_1X1,
  'pixels_separate': published.FLOW_1X1_SEPARATE,
  'conv': published.FLOW_CONV,
  'conv_separate': published.FLOW_CONV_SEPARATE,
  'conv_light': published.FLOW_CONV_LIGHT,
}
_TRAIN_PAIRS = 400_000
_EPOCHS = 480
_BATCH_SIZE = 512


def get_config(variant: str = 'patches') -> ml_collections.ConfigDict:
  """Returns the experiment.

  Args:
    variant: see above.

  Raises:
    ValueError: there is no such variant.
  """
  if variant not in _MODELS:
    raise ValueError(f'The variants are {list(_MODELS)}, got {variant!r}.')
  steps_per_epoch = _TRAIN_PAIRS // _BATCH_SIZE
  config = ml_collections.ConfigDict()
  config.task = 'optical_flow'
  config.seed = 0
  config.batch_size = _BATCH_SIZE
  config.train_steps = _EPOCHS * steps_per_epoch
  config.log_every = 100
  config.eval_every = 10 * steps_per_epoch
  config.checkpoint_every = 500
  config.data_workers = 16

  config.data = dict(name='frame_pairs', height=368, width=496)
  config.update(_MODELS[variant])
  config.encoder.rematerialize = 'elementwise'
  config.optimizer = dict(name='lamb', weight_decay=0.1, clip_norm=10.0)
  config.schedule = dict(name='cosine', learning_rate=4e-4)
  config.checkpoints = dict(
    keep_last=2, best_metric='eval/loss', best_mode='min'
  )
  return config
