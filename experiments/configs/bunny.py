r"""Autoencoding of an animated film with its sound.

  python -m experiments.train --config=experiments/configs/bunny.py
  python -m experiments.evaluate --config=experiments/configs/bunny.py \
    --training_examples=256

Nothing is downloaded; the 5.3 seconds of film come with the package. The report
at the end shows held-out stretches beside what the model makes of them.
On 2 CPU cores: 15 min 25 s (seed 0). Peak signal-to-noise ratios in decibels,
in brackets above the mean of the training stretches:

  stretches   video          sound
  held out    25.7 (+6.26)   40.6 (+16.8)
  training    27.7 (+8.4)    38.7 (+15.5)

On one core, which rounds otherwise, +6.11 and +10.2 are held out.

The video of the held-out stretches is what is hard: the frames of training
nearest to them are +8.1 dB, and eight principal components +7.5.
"""

import ml_collections

# 4 frames and 2,560 samples: 2 x 8 x 8 patches of 2 frames of 8 x 8 pixels, and
# 40 patches of 64 samples, 4 ms. Outputs are the same patches.
_PATCH_SHAPE = (2, 8, 8)
_IMAGE_GRID = (2, 8, 8)
_SAMPLES_PER_PATCH = 64
_AUDIO_GRID = (40,)
_IMAGE_POSITIONS = dict(name='fourier', num_bands=6, max_resolution=_IMAGE_GRID)
_AUDIO_POSITIONS = dict(
  name='fourier', num_bands=20, max_resolution=_AUDIO_GRID
)


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = ml_collections.ConfigDict()
  config.task = 'autoencoding'
  config.seed = 0
  config.batch_size = 8
  config.train_steps = 9000
  config.log_every = 100
  config.eval_every = 500
  config.checkpoint_every = 500
  config.data_workers = 0

  config.data = dict(
    name='bunny',
    num_frames=4,
    max_sound_shift=320,
    max_gain_decibels=6.0,
    random_polarity=True,
    extrapolation=0.5,
    blend_nodes=3,
  )
  config.inputs = dict(
    audio=dict(
      name='audio_patches',
      samples_per_patch=_SAMPLES_PER_PATCH,
      positions=_AUDIO_POSITIONS,
    ),
    image=dict(
      name='patches', patch_shape=_PATCH_SHAPE, positions=_IMAGE_POSITIONS
    ),
  )
  config.packing = dict(min_padding=4)
  config.encoder = dict(
    num_latents=64,
    latent_channels=128,
    cross_attends=(1,),
    self_attends_per_block=2,
    cross_attend_heads=4,
    cross_attend_qk_channels=128,
    self_attend_heads=4,
    latents_init_stddev=0.5,
    rematerialize='none',
  )
  config.queries = dict(
    audio=dict(name='grid', grid_shape=_AUDIO_GRID, positions=_AUDIO_POSITIONS),
    image=dict(name='grid', grid_shape=_IMAGE_GRID, positions=_IMAGE_POSITIONS),
  )
  # Queries are as wide as the decoder is to be: 41 channels of positions and
  # 151 learned ones of their modality.
  config.decoding = dict(query_min_padding=151, num_chunks=1)
  config.decoder = dict(
    output_channels=192, num_heads=4, qk_channels=128, v_channels=192
  )
  config.postprocessors = dict(
    audio=dict(name='audio_samples', samples_per_patch=_SAMPLES_PER_PATCH),
    image=dict(name='pixel_patches', patch_shape=_PATCH_SHAPE, num_channels=3),
  )
  config.loss = dict(audio=1.0, image=1.5)
  # The loudest sample of the film is 1 / 0.07, see `data/bunny.py`.
  config.peaks = dict(audio=1 / 0.07, image=1.0)
  config.optimizer = dict(
    name='adamw', weight_decay=0.01, b2=0.95, clip_norm=1.0
  )
  config.schedule = dict(name='cosine', learning_rate=3e-3, warmup_steps=100)
  config.checkpoints = dict(
    keep_last=2, best_metric='eval/loss', best_mode='min'
  )
  return config
