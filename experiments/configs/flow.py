"""Optical flow with Perceiver IO.

  python -m experiments.train --config=experiments/configs/flow.py:embedded
  python -m experiments.train --config=experiments/configs/flow.py:patches

The published run (arXiv 2107.14795, section 4.2, appendix H): 400,000 pairs of
AutoFlow in crops of 368 x 496, 480 epochs in batches of 512, LAMB 4e-4 with a
cosine, RAFT's augmentation. The paper does not say how large its scales are nor
what is lost: RAFT's scales and the end-point error are taken here. It begins
with a phase without augmentation, of a length not stated, in which pairs are
also learned backwards; here that is a run of its own with
--config.data.augment=False, from which `config.finetuning` goes on. 40,000
pairs are published: as many steps are ten times as many epochs of them.

Evaluation is on Sintel's clean pass, or by --config.data.evaluation=... on
sintel_final or kitti, frames in six tiles. What has to be downloaded, and to
where, is what the run says without it.

Variants, with the paper's end-point error on Sintel clean, final and KITTI:
  patches: 3 x 3, frames concatenated, 1.81, 2.42, 4.98 (the default).
  patches_separate: frames apart, 1.78, 2.70, 6.19.
  pixels: without neighbours, 1.91, 2.56, 5.39.
  pixels_separate: 1.72, 2.63, 5.93.
  conv: a convolution first, upsampling last, 1.84, 2.52, 4.83.
  conv_separate: 1.90, 2.53, 6.66.
  conv_light: 16 layers, 1,024 latents, 2.06, 2.67, 6.12.

and, trained on pairs of 32 x 48 made from six embedded photographs:
  embedded: 1.37 pixels on the parts of them that are held out, 0.485 of the
    error of estimating no motion (much of it where there is nothing to see, as
    in a sky); 0.59 on the pair of photographs of a motorcycle, 15 times
    smaller, 0.26 of that error. 12 min 2 s on 2 CPU cores (seed 0, after the
    last step). The report shows both.
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
  if variant == 'embedded':
    return _embedded()
  if variant not in _MODELS:
    raise ValueError(
      f'The variants are {[*_MODELS, "embedded"]}, got {variant!r}.'
    )
  steps_per_epoch = _TRAIN_PAIRS // _BATCH_SIZE
  config = _common()
  config.batch_size = _BATCH_SIZE
  config.train_steps = _EPOCHS * steps_per_epoch
  config.eval_every = 10 * steps_per_epoch
  config.checkpoint_every = 500
  config.data_workers = 16

  config.data = dict(
    name='autoflow',
    height=368,
    width=496,
    augment=True,
    min_scale=-0.2,
    max_scale=0.5,
    evaluation='sintel_clean',
  )
  config.update(_MODELS[variant])
  config.encoder.rematerialize = 'elementwise'
  config.compute_dtype = 'bfloat16'
  config.optimizer = dict(name='lamb', weight_decay=0.1, clip_norm=10.0)
  config.schedule = dict(name='cosine', learning_rate=4e-4)
  return config


def _embedded() -> ml_collections.ConfigDict:
  """A small model of the kind of `conv`, for frames of 32 x 48."""
  config = _common()
  config.batch_size = 32
  config.train_steps = 2000
  config.eval_every = 500
  config.checkpoint_every = 500
  config.data_workers = 0

  config.data = dict(
    name='photographs',
    height=32,
    width=48,
    max_shift=4.0,
    max_linear=0.05,
    max_bend=1.0,
    held_out_pairs=512,
  )
  config.preprocessor = dict(
    name='frame_conv_stem',
    num_channels=64,
    concatenate_frames=True,
    positions=dict(name='fourier', num_bands=6, max_resolution=(8, 12)),
  )
  config.encoder = dict(
    num_latents=64,
    latent_channels=96,
    cross_attends=(1,),
    self_attends_per_block=4,
    self_attend_heads=4,
    rematerialize='none',
  )
  # The residual hands a place's own motion on, beside what the latents know.
  config.decoder = dict(
    query_residual=True, qk_channels=96, v_channels=96, widening_factor=2
  )
  config.flow = dict(flow_scale=1.0, stride=4)
  config.optimizer = dict(
    name='adamw', weight_decay=0.01, b2=0.95, clip_norm=1.0
  )
  config.schedule = dict(name='cosine', learning_rate=2e-3, warmup_steps=100)
  return config


def _common() -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict()
  config.task = 'optical_flow'
  config.seed = 0
  config.log_every = 100
  config.checkpoints = dict(
    keep_last=2, best_metric='eval/end_point_error', best_mode='min'
  )
  return config
