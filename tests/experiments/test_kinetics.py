"""Kinetics from small videos, encoded here, in folders like the real ones."""

import numpy as np
import pytest

from experiments.data.pipeline import evaluation_batches, train_batches
from experiments.datasets import kinetics as module
from experiments.datasets.kinetics import kinetics, list_videos
from experiments.datasets.sharded_builder import prepare
from experiments.modalities.video.stored import (
  in_threads,
  read_video,
)
from tests.media_files import grey_frames, sine, write_media

OPTIONS = dict(
  num_frames=16,
  image_size=32,
  num_samples=16 * 1920,
  samples_per_patch=16,
  audio_points=10,
  image_points=20,
)
SAME_COLOURS = dict(
  max_brightness=0.0, max_contrast=0.0, max_saturation=0.0, max_hue=0.0
)
CLASSES = ('abseiling', 'acting in play', 'zumba')
# 40 frames; frame i has the grey 4 i + 20.
GREYS = 4 * np.arange(40) + 20


def rng(seed=0):
  return np.random.default_rng(seed)


def write_video(path, frames=None, seconds=1.6):
  """Frames of 32 x 48 and a tone of 440 Hz that may be shorter."""
  path.parent.mkdir(parents=True, exist_ok=True)
  frames = grey_frames(GREYS) if frames is None else frames
  samples = None if seconds is None else sine(440, seconds, 48_000)[None]
  return write_media(path, frames=frames, samples=samples)


def write_folders(data_dir, held_out='val'):
  root = data_dir / 'downloads' / 'manual' / 'kinetics700_2020'
  for name in ('zumba', 'acting_in_play', 'abseiling'):
    write_video(root / 'train' / name / f'{name}_1.mp4')
  write_video(root / held_out / 'acting_in_play' / 'held_out.mp4')
  return root


@pytest.fixture(autouse=True)
def small(monkeypatch):
  monkeypatch.setattr(module, '_NUM_CLASSES', 3)
  monkeypatch.setattr(module, '_SHORT_SIDE', 32)
  # Threads: Beam takes seconds to start.
  monkeypatch.setattr(
    module,
    'prepare',
    lambda builder, manual, workers: prepare(builder, manual, workers=0),
  )


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  data_dir = tmp_path_factory.mktemp('data')
  write_folders(data_dir)
  return data_dir


@pytest.fixture
def data(data_dir, small):
  return kinetics(str(data_dir), **OPTIONS, **SAME_COLOURS).load()


def greys(image):
  """The mean grey of each frame, as numbered by `GREYS`."""
  return (image.mean(axis=(1, 2, 3)) * 255 - 20) / 4


def test_prepared_from_the_folders(data):
  assert (len(data.train), len(data.evaluation)) == (3, 1)
  raw = data.evaluation[0]
  assert raw['label'] == CLASSES.index('acting in play') == 1
  assert raw['name'] in ('acting_in_play/held_out', b'acting_in_play/held_out')
  assert len(raw['frames']) == 40
  assert raw['audio'].shape == (40 * 1920,)
  assert raw['audio'].dtype == np.int16
  labels = {int(data.train[i]['label']) for i in range(3)}
  assert labels == {0, 1, 2}


def test_the_middle_clip_is_held_out_with_its_sound(data):
  raw = data.evaluation[0]
  example = data.prepare(raw)
  assert example['image'].shape == (16, 32, 32, 3)
  assert example['image'].dtype == example['audio'].dtype == np.float32
  np.testing.assert_allclose(greys(example['image']), np.arange(12, 28), atol=1)
  np.testing.assert_array_equal(
    example['audio'], raw['audio'][12 * 1920 : 28 * 1920] / np.float32(32768)
  )
  # The tone, with AAC's error.
  tone = sine(440, 1.6, 48_000)[12 * 1920 : 28 * 1920]
  assert np.corrcoef(tone, example['audio'])[0, 1] > 0.99


def test_training_clips_begin_anywhere_and_sound_goes_with_them(data):
  raw = data.train[0]
  starts = set()
  for seed in range(8):
    example = data.augment(raw, rng(seed))
    frames = greys(example['image'])
    start = round(frames[0])
    np.testing.assert_allclose(frames, start + np.arange(16), atol=1)
    matches = [
      first
      for first in range(25)
      if np.array_equal(
        example['audio'],
        raw['audio'][first * 1920 :][: 16 * 1920] / np.float32(32768),
      )
    ]
    assert min(abs(first - frames[0]) for first in matches) < 1
    starts.add(start)
    assert example['label'] == raw['label']
    assert example['label'].dtype == np.int32
    assert example['output_points']['image'].shape == (20,)
    assert example['output_points']['audio'].max() < 1920
  assert len(starts) > 3


def test_the_same_seed_gives_the_same_clip(data_dir):
  colours = dict(
    max_brightness=0.1, max_contrast=0.4, max_saturation=0.4, max_hue=0.2
  )
  data = kinetics(str(data_dir), **OPTIONS, **colours).load()
  raw = data.train[1]
  one, again, other = (data.augment(raw, rng(seed)) for seed in (0, 0, 1))
  np.testing.assert_array_equal(one['image'], again['image'])
  assert abs(one['image'] - other['image']).max() > 0.01


def test_batches(data):
  batch = next(train_batches(data, 2, seed=0, position=0))
  assert batch['image'].shape == (2, 16, 32, 32, 3)
  assert batch['output_points']['audio'].shape == (2, 10)
  (batch,) = evaluation_batches(data, 2)
  assert batch['weight'].tolist() == [1, 0]
  assert batch['label'].tolist() == [1, 1]


def test_videos_that_cannot_be_used_are_left_out_and_named(tmp_path, capsys):
  root = write_folders(tmp_path, held_out='validate')
  train = root / 'train' / 'zumba'
  whole = (train / 'zumba_1.mp4').read_bytes()
  for i in range(8):
    write_video(train / f'good_{i}.mp4')
  (train / 'broken.mp4').write_bytes(whole[: len(whole) // 2])
  write_video(train / 'silent.mp4', seconds=None)
  write_video(train / 'short.mp4', grey_frames(GREYS[:20]), 0.8)
  data = kinetics(str(tmp_path), **OPTIONS, **SAME_COLOURS).load()
  assert len(data.train) == 3 + 8
  printed = capsys.readouterr().out
  assert 'kinetics700/train/1.0.0: left out 3 that cannot be used' in printed
  for name in ('broken.mp4', 'silent.mp4 has no sound', 'short.mp4 has 20 fr'):
    assert name in printed


def test_validation_videos_that_are_all_broken(tmp_path):
  root = write_folders(tmp_path)
  path = root / 'val' / 'acting_in_play' / 'held_out.mp4'
  path.write_bytes(b'not a video')
  with pytest.raises(ValueError, match=r'None of 1 items.*\n.*held_out\.mp4'):
    kinetics(str(tmp_path), **OPTIONS, **SAME_COLOURS).load()


def test_sound_that_ends_early_goes_on_as_silence(tmp_path):
  path = write_video(tmp_path / 'a.mp4', seconds=1.0)
  video = read_video(path, frame_rate=25, sample_rate=48_000, short_side=32)
  assert video['audio'].shape == (40 * 1920,)
  assert abs(video['audio'][:48_000]).max() > 10_000
  assert not video['audio'][52_000:].any()
  assert all(frame.startswith(b'\xff\xd8') for frame in video['frames'])


def test_threads_keep_the_order():
  assert list(in_threads(lambda x: x * x, range(100))) == [
    x * x for x in range(100)
  ]
  assert list(in_threads(str, [])) == []


# What is asked of the folders.


def test_without_the_videos_it_says_where_to_put_them(tmp_path):
  with pytest.raises(FileNotFoundError, match='kinetics700_2020') as error:
    kinetics(str(tmp_path), **OPTIONS, **SAME_COLOURS).load()
  assert str(tmp_path / 'downloads' / 'manual') in str(error.value)
  assert 'bunny.py' in str(error.value)


def test_a_split_that_is_missing(tmp_path):
  root = write_folders(tmp_path, held_out='testing')
  with pytest.raises(FileNotFoundError, match='validation videos, val or val'):
    list_videos(root)


def test_classes_are_counted(tmp_path):
  root = write_folders(tmp_path)
  (root / 'train' / 'yoga').mkdir()
  with pytest.raises(ValueError, match=r'4 classes; .* has 3'):
    list_videos(root)


def test_blanks_and_underscores_are_the_same(tmp_path):
  root = write_folders(tmp_path)
  (root / 'val' / 'acting_in_play').rename(root / 'val' / 'acting in play')
  ((_, label),) = list_videos(root)['validation']
  assert label == 1


def test_a_class_of_validation_alone(tmp_path):
  root = write_folders(tmp_path)
  (root / 'val' / 'acting_in_play').rename(root / 'val' / 'yoga')
  with pytest.raises(ValueError, match='yoga is a class that the training'):
    list_videos(root)


def test_a_split_without_videos(tmp_path):
  root = write_folders(tmp_path)
  (root / 'val' / 'acting_in_play' / 'held_out.mp4').rename(root / 'a.mp4')
  with pytest.raises(ValueError, match=r'no videos CLASS/NAME\.mp4'):
    list_videos(root)


@pytest.mark.parametrize(
  ('option', 'value', 'text'),
  [
    ('num_frames', 33, 'from 1 to 32'),
    ('num_samples', 16 * 1919, '1920 for each of 16 frames, 30720'),
    ('samples_per_patch', 17, '17 does not divide'),
    ('audio_points', 1921, 'audio_points must be from 1 to 1920'),
    ('image_points', 0, 'image_points must be from 1 to 16384'),
  ],
)
def test_clips_that_cannot_be(option, value, text):
  with pytest.raises(ValueError, match=text):
    kinetics(None, **OPTIONS | {option: value}, **SAME_COLOURS)
