"""Autoencoding of video, sound and label with Perceiver IO.

  python -m experiments.train --config=experiments/configs/kinetics.py \
    --data_dir=DATA --workdir=runs/kinetics

Needs the videos of Kinetics-700-2020 in folders, see `data/kinetics.py`; they
are decoded once, when the command first runs. A validation clip is
reconstructed from its video and its sound, without its label.

The published run (arXiv 2107.14795, section 4.3, appendix I): 16 frames with
30,720 samples of sound and the label, which is masked half of the time; 512
pixels, 512 patches of sound and the label decoded of each example; batches of
1,024, learning rate 1e-3; losses L1 (video times 0.03), cross-entropy times
0.0001. Not stated: optimizer (LAMB here, as in the paper's other runs), number
of steps, augmentation (here that of the first paper's video, section 4.2) and
what the peak of sound is (1 here; 2 adds 6.02 dB).

Variants, with audio PSNR, video PSNR and top-1 accuracy:
  784: latents, a compression of 88, 26.97, 24.37, 10.2 % (the default).
  392: a compression of 176, 25.33, 24.27, 8.6 %.
  196: a compression of 352, 14.15, 23.21, 11.5 %.
With a weight of 1 for the label (--config.loss.label=1.0) the paper has 45 %
at a video PSNR of 20.7. This has not been trained with this code.
"""

import ml_collections

from perceiver_jax import published

_NUM_LATENTS = {'784': 784, '392': 392, '196': 196}


def get_config(variant: str = '784') -> ml_collections.ConfigDict:
  """Returns the experiment.

  Args:
    variant: number of latents, '784', '392' or '196'.

  Raises:
    ValueError: there is no such variant.
  """
  if variant not in _NUM_LATENTS:
    raise ValueError(f'The variants are {list(_NUM_LATENTS)}, got {variant!r}.')
  config = ml_collections.ConfigDict()
  config.task = 'autoencoding'
  config.seed = 0
  config.batch_size = 1024
  config.train_steps = 50_000
  config.log_every = 100
  config.eval_every = 1000
  config.checkpoint_every = 500
  config.data_workers = 16

  config.data = dict(
    name='kinetics',
    num_frames=16,
    image_size=224,
    num_samples=30_720,
    samples_per_patch=16,
    audio_points=512,
    image_points=512,
    max_brightness=0.125,
    max_contrast=0.4,
    max_saturation=0.4,
    max_hue=0.2,
  )
  config.update(published.KINETICS)
  config.encoder.rematerialize = 'elementwise'
  config.compute_dtype = 'bfloat16'
  config.encoder.num_latents = _NUM_LATENTS[variant]
  config.loss = dict(audio=1.0, image=0.03, label=0.0001)
  config.peaks = dict(audio=1.0, image=1.0)
  config.optimizer = dict(name='lamb', weight_decay=0.1, clip_norm=10.0)
  config.schedule = dict(name='constant', learning_rate=1e-3)
  config.checkpoints = dict(
    keep_last=2, best_metric='eval/loss', best_mode='min'
  )
  return config
