"""AudioSet classification with Perceiver and Perceiver IO.

  python -m experiments.train --config=experiments/configs/audioset.py
  python -m experiments.train --config=experiments/configs/audioset.py:mel

The lists of segments and the media files, as far as they are to be had, go into
the data directory's downloads/manual/audioset/ (what goes where is said when
they are missing); they are prepared on first use, by all cores. With the
balanced list alone (22,160 clips, about 130 GB):
--config.data.train_lists="('balanced_train',)"; sound alone is enough for
raw_audio and mel.

The published runs (arXiv 2103.03206, section 4.2, table 3; arXiv 2107.14795,
appendix C, table 10): 100 epochs of 1.7M clips of 32 frames, 1.28 s of sound.
Optimizer, learning rate and batch size are not stated for the first paper;
those of Perceiver IO's ImageNet run stand here. Held out are 16 overlapping
clips of each recording of the evaluation list, their scores averaged. Colour
changes are not stated in numbers; those of the Kinetics config stand here.

Variants, with the papers' mean average precision:
  raw_audio_video: Perceiver, 480 patches of sound and video, 43.5 (default).
  mel_video: Perceiver, 4,800 spectrogram bins (SpecAugment) and video, 43.2.
  mel_video_tuned: the spectrogram dropped instead of SpecAugment, 44.2.
  raw_audio, mel, video: one modality, 38.3, 38.4, 25.8.
  io_raw_audio_video, io_mel_video: Perceiver IO, 43.3, 44.9.
"""

import ml_collections

from perceiver_jax import published

_MODELS = {
  'raw_audio_video': published.AUDIOSET_RAW_AUDIO_VIDEO,
  'mel_video': published.AUDIOSET_MEL_VIDEO,
  'mel_video_tuned': published.AUDIOSET_MEL_VIDEO_TUNED,
  'raw_audio': published.AUDIOSET_RAW_AUDIO,
  'mel': published.AUDIOSET_MEL,
  'video': published.AUDIOSET_VIDEO,
  'io_raw_audio_video': published.AUDIOSET_IO,
  'io_mel_video': published.AUDIOSET_IO_MEL,
}
_TRAIN_CLIPS = 1_700_000
_EPOCHS = 100
_BATCH_SIZE = 1024


def get_config(variant: str = 'raw_audio_video') -> ml_collections.ConfigDict:
  """Returns the experiment.

  Args:
    variant: see above.

  Raises:
    ValueError: there is no such variant.
  """
  if variant not in _MODELS:
    raise ValueError(f'The variants are {list(_MODELS)}, got {variant!r}.')
  steps_per_epoch = _TRAIN_CLIPS // _BATCH_SIZE
  config = ml_collections.ConfigDict()
  config.task = 'classification'
  config.seed = 0
  config.batch_size = _BATCH_SIZE
  config.train_steps = _EPOCHS * steps_per_epoch
  config.log_every = 100
  config.eval_every = steps_per_epoch
  config.checkpoint_every = 500
  config.data_workers = 16

  config.update(_MODELS[variant])
  config.data = dict(
    name='audioset',
    train_lists=('balanced_train', 'unbalanced_train'),
    modalities=tuple(config.inputs),
    num_frames=32,
    image_size=224,
    evaluation_clips=16,
    max_brightness=0.125,
    max_contrast=0.4,
    max_saturation=0.4,
    max_hue=0.2,
  )
  config.encoder.rematerialize = 'elementwise'
  config.compute_dtype = 'bfloat16'
  config.loss = dict(name='sigmoid')
  config.optimizer = dict(name='lamb', weight_decay=0.1, clip_norm=10.0)
  config.schedule = dict(name='flat_then_cosine', learning_rate=2e-3, flat=0.5)
  config.checkpoints = dict(
    keep_last=2, best_metric='eval/mean_average_precision', best_mode='max'
  )
  return config
