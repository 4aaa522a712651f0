"""Your own files: which class is it, of images, sounds, videos, shapes, texts.

  python -m experiments.train --config=experiments/configs/folder.py:audio \\
    --config.data.root=PATH

PATH has a folder for each class in train/ and in test/:

  PATH/train/CLASS/FILE    PATH/test/CLASS/FILE    PATH/val/CLASS/FILE

val/ chooses the best checkpoint; without it a tenth of train/ does. test/ is
looked at once, at the end. --baseline says how good a cheap classical model is.

Variants, by what the files are:
  image: jpg, png, webp, bmp, gif, tiff, ppm.
  audio: wav, flac, ogg, opus, mp3, m4a, aac, aiff, of any rate and length.
  video: mp4, webm, mkv, avi, mov, mpeg: the frames, not the sound.
  mesh: meshes as off, obj, ply, stl; points as ply, npy, xyz, pts, txt.
  text: UTF-8 txt; or PATH/train.tsv and PATH/test.tsv, lines of the class, a
    tab and the text.
  timeseries: csv, tsv, npz, npy, of the same channels and any length.
  events: csv, tsv, npz, jsonl, parquet, measured at any times.

What is None here is chosen from the training files, once, when the run begins:
it is printed, and stands in the run's config.json. Each can be set, such as
--config.data.image_size=32. --config.data.skip_unreadable=True leaves out files
that cannot be read, and counts them. The models are small, for a CPU: minutes
for some thousand files, seen often enough for their number.
"""

from collections.abc import Mapping
from typing import Any

import ml_collections
from ml_collections.config_dict import placeholder

_FEW_CLASSES = dict(
  num_latents=32,
  latent_channels=64,
  cross_attends=(1, 1, 1),
  self_attends_per_block=2,
  self_attend_heads=2,
  cross_attend_qk_channels=96,
  rematerialize='none',
)


def get_config(variant: str = 'image') -> ml_collections.ConfigDict:
  """Returns the experiment.

  Args:
    variant: see above.

  Raises:
    ValueError: there is no such variant.
  """
  if variant not in _VARIANTS:
    raise ValueError(f'The variants are {list(_VARIANTS)}, got {variant!r}.')
  config = ml_collections.ConfigDict()
  config.task = 'classification'
  config.seed = 0
  config.batch_size = 64
  # By the number of training files, see `duration`.
  for key in ('train_steps', 'log_every', 'eval_every', 'checkpoint_every'):
    config[key] = placeholder(int)
  config.duration = dict(
    epochs=60, least_steps=600, most_steps=1000, evaluations=10
  )
  config.early_stop = dict(patience=5, metric='eval_ema/accuracy', mode='max')
  config.data_workers = 0
  config.ema_decay = 0.98
  config.data = dict(
    root='',
    classes=placeholder(tuple),
    skip_unreadable=False,
    validation_share=0.1,  # Of train/, where there is no val/.
    validation_seed=config.get_oneway_ref('seed'),
  )
  config.optimizer = dict(
    name='adamw', weight_decay=0.1, b2=0.95, clip_norm=1.0
  )
  config.schedule = dict(name='cosine', learning_rate=3e-3, warmup_steps=50)
  config.checkpoints = dict(
    keep_last=1, best_metric='eval_ema/accuracy', best_mode='max'
  )
  _VARIANTS[variant](config)
  if config.task == 'classification':
    if 'encoder' not in config:
      config.encoder = _FEW_CLASSES
    config.loss = dict(name='softmax', label_smoothing=0.1)
  return config


def _image(config: ml_collections.ConfigDict) -> None:
  config.data.update(
    name='image_folder',
    image_size=placeholder(int),
    max_image_size=96,
    mean=placeholder(tuple),
    stddev=placeholder(tuple),
    max_rotation=10.0,
    max_shear=0.1,
    max_scale=0.1,
    max_shift=0.05,
    mirror_probability=0.0,  # A mirrored letter is another letter.
    mixup_alpha=0.4,
    max_patches=8,
  )
  config.inputs = dict(
    image=dict(
      name='image_windows',
      cell=placeholder(int),
      drop_rate=0.25,
      overviews=4,
      positions=_positions(num_bands=8),
    )
  )


def _audio(config: ml_collections.ConfigDict) -> None:
  config.data.update(
    name='sound_folder',
    sample_rate=placeholder(int),
    max_sample_rate=16_000,
    num_samples=placeholder(int),
    max_seconds=10.0,
    stddev=placeholder(float),
    max_shift=0.1,
    max_speed_change=0.06,
    filter_decibels=6.0,
    rotate_phase=True,
    max_gain_decibels=6.0,
    max_noise=0.1,
  )
  config.inputs = dict(
    audio=dict(
      name='mel_frames',
      sample_rate=placeholder(int),
      window_size=placeholder(int),
      hop_size=placeholder(int),
      num_mels=placeholder(int),
      frames_per_input=placeholder(int),
      time_masks=2,
      max_masked_frames=placeholder(int),
      frequency_masks=2,
      max_masked_bands=placeholder(int),
      positions=_positions(num_bands=16),
    )
  )


def _video(config: ml_collections.ConfigDict) -> None:
  config.data.update(
    name='video_folder',
    num_frames=8,
    frame_rate=placeholder(float),
    image_size=placeholder(int),
    max_image_size=48,
    mean=placeholder(tuple),
    stddev=placeholder(tuple),
    min_crop=0.8,
    max_brightness=0.1,
    max_contrast=0.2,
    max_saturation=0.2,
    max_hue=0.02,
    mirror_probability=0.0,  # Mirrored, to the left is to the right.
  )
  config.inputs = dict(
    video=dict(
      name='patches',
      patch_shape=placeholder(tuple),
      positions=_positions(num_bands=4),
    )
  )


def _mesh(config: ml_collections.ConfigDict) -> None:
  config.data.update(
    name='point_folder',
    num_points=placeholder(int),
    max_num_points=512,
    max_point_scale=0.01,
    max_rotation=30.0,
    max_stretch=0.4,
    max_jitter=0.02,
    mirror_probability=0.5,
    mix_probability=0.5,
    sizes=placeholder(tuple),
    max_size_change=0.1,
  )
  config.inputs = dict(
    points=dict(
      name='point_neighbourhoods', num_bands=4, max_resolution=(8, 8, 8)
    )
  )
  config.optimizer.weight_decay = 0.3


def _text(config: ml_collections.ConfigDict) -> None:
  config.task = 'text_classification'
  config.data.update(
    name='text_folder',
    length=placeholder(int),
    max_length=1024,
    min_share=0.6,
    mix_probability=0.5,
  )
  config.labels = dict(label=placeholder(int))
  config.embedding = dict(
    name='ngrams',
    vocab_size=262,
    num_channels=64,
    max_length=placeholder(int),
    ngrams=(2, 3, 4, 5),
    num_rows=2**17,
    drop_rate=0.5,
  )
  config.loss = dict(label_smoothing=0.1)
  config.encoder = dict(
    num_latents=32,
    latent_channels=64,
    cross_attends=(1,),
    self_attends_per_block=2,
    cross_attend_heads=4,
    self_attend_heads=4,
    rematerialize='none',
  )
  config.queries = dict(num_channels=64)
  config.decoder = dict(num_heads=4, query_residual=False)
  config.optimizer.weight_decay = 0.05
  config.schedule.update(learning_rate=2e-3, warmup_steps=50)
  config.duration.update(epochs=16, least_steps=300, most_steps=600)


def _timeseries(config: ml_collections.ConfigDict) -> None:
  config.data.update(
    name='series_folder',
    num_steps=placeholder(int),
    max_steps=4096,
    num_channels=placeholder(int),
    channels=placeholder(tuple),
    mean=placeholder(tuple),
    stddev=placeholder(tuple),
    max_speed_change=0.1,
    max_scale=0.1,
    noise=0.05,
    mix_probability=0.5,
    max_patches=64,
  )
  config.inputs = dict(
    series=dict(
      name='series_windows',
      patch=placeholder(int),
      window=placeholder(int),
      statistics=True,
      positions=_positions(num_bands=16),
    )
  )


def _events(config: ml_collections.ConfigDict) -> None:
  config.data.update(
    name='events_folder',
    num_events=placeholder(int),
    max_events=512,
    channels=placeholder(tuple),
    mean=placeholder(tuple),
    stddev=placeholder(tuple),
    origin='end',
    center=placeholder(float),
    span=placeholder(float),
    gap=placeholder(float),
    max_drop=0.5,
    max_speed_change=0.1,
    jitter=0.1,
    max_scale=0.1,
    noise=0.05,
  )
  config.inputs = dict(
    events=dict(
      name='event_embedding',
      num_rows=placeholder(int),
      num_channels=64,
      num_bands=16,
      max_resolution=placeholder(float),
      spacing='linear',
      context=True,
    )
  )


def _positions(num_bands: int) -> Mapping[str, Any]:
  """Bands that are at most 1 apart tell all positions from each other."""
  return dict(
    name='fourier',
    num_bands=num_bands,
    max_resolution=placeholder(tuple),
    spacing='linear',
  )


_VARIANTS = {
  'image': _image,
  'audio': _audio,
  'video': _video,
  'mesh': _mesh,
  'text': _text,
  'timeseries': _timeseries,
  'events': _events,
}
