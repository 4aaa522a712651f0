"""AudioSet from lists and media files in their real formats, small."""

import importlib.util
import pathlib

import jax
import numpy as np
import pytest

from experiments.configs import audioset as config_module
from experiments.data.dataset import Joined
from experiments.data.pipeline import evaluation_batches, train_batches
from experiments.datasets import audioset as module
from experiments.datasets import sharded_builder
from experiments.datasets.audioset import Audioset, audioset
from experiments.datasets.audioset_lists import (
  find_segments,
  read_classes,
  read_list,
)
from experiments.datasets.sharded_builder import prepare
from experiments.stepping.train_state import init_shapes
from experiments.tasks import make_task
from perceiver_jax.metrics import sum_of_means
from tests.media_files import grey_frames, sine, write_media

OPTIONS = dict(
  train_lists=('balanced_train',),
  modalities=('audio', 'video'),
  num_frames=8,
  image_size=16,
  evaluation_clips=5,
  max_brightness=0.0,
  max_contrast=0.0,
  max_saturation=0.0,
  max_hue=0.0,
)
COMMENTS = """# Segments csv created Sun Mar  5 10:54:31 2017
# num_ytids={0}, num_segs={0}, num_unique_labels=527, num_positive_labels=9
# YTID, start_seconds, end_seconds, positive_labels
"""
# The second is of a whole video, the third is gone, the fourth broken.
BALANCED = """--4gqARaEJE, 0.000, 2.000, "/m/0002,/m/0005"
-0BIyqJj9ZU, 1.000, 3.000, "/m/0007"
-0gone_____, 30.000, 32.000, "/m/0001"
-0broken___, 30.000, 32.000, "/m/0001"
-0sound____, 30.000, 32.000, "/m/0526"
"""
EVAL = """-1evalevale, 30.000, 32.000, "/m/0003"
-2evalevale, 30.500, 32.500, "/m/0003,/m/0004"
"""


def write_lists(root, balanced=BALANCED, held_out=EVAL):
  root.mkdir(parents=True, exist_ok=True)
  rows = [f'{i},/m/{i:04d},"Sound, of {i}"' for i in range(527)]
  (root / 'class_labels_indices.csv').write_text(
    '\n'.join(['index,mid,display_name', *rows]) + '\n'
  )
  for name, text in (('balanced_train', balanced), ('eval', held_out)):
    comments = COMMENTS.format(text.count('\n'))
    (root / f'{name}_segments.csv').write_text(comments + text)


def write_film(path, seconds=2.0, first_grey=20):
  """Frame i has the grey first + 2 i, and the sound at t seconds is t / 10."""
  times = np.arange(round(seconds * 48_000)) / 48_000
  return write_media(
    path,
    frames=grey_frames(first_grey + 2 * np.arange(round(25 * seconds))),
    samples=(times / 10).astype(np.float32)[None],
  )


@pytest.fixture(scope='module')
def manual(tmp_path_factory):
  """A folder of downloads: lists, and five films or sounds."""
  folder = tmp_path_factory.mktemp('manual')
  root = folder / 'audioset'
  write_lists(root)
  media = root / 'media'
  media.mkdir()
  write_film(media / '--4gqARaEJE_0.avi')
  write_film(media / '-0BIyqJj9ZU.avi', seconds=4.0)
  (media / '-0broken____30.avi').write_bytes(b'These are no frames.')
  write_media(
    media / '-0sound_____30.flac', samples=sine(440, 2.0, 48_000)[None]
  )
  write_film(media / '-1evalevale_30.avi', first_grey=100)
  write_film(media / '-2evalevale_30.5.avi', first_grey=60)
  (media / 'notes.txt').write_text('Not media, not read.')
  return folder


@pytest.fixture(scope='module')
def small_frames():
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(module, 'SHORT_SIDE', 32)
    yield


@pytest.fixture(scope='module')
def prepared(manual, small_frames, tmp_path_factory):
  """Where both lists are prepared, by threads."""
  data_dir = tmp_path_factory.mktemp('data')
  for name in ('balanced_train', 'eval'):
    builder = Audioset(
      config=name, data_dir=data_dir, file_format='array_record'
    )
    prepare(builder, manual, workers=0)
  return data_dir


def opened(data_dir, name):
  builder = Audioset(config=name, data_dir=data_dir, file_format='array_record')
  return builder.as_data_source('examples')


def test_what_is_stored(prepared):
  stored = opened(prepared, 'balanced_train')
  names = [example['name'] for example in stored]
  assert names == [b'--4gqARaEJE_0', b'-0BIyqJj9ZU_1', b'-0sound_____30']
  assert [list(example['labels']) for example in stored] == [[2, 5], [7], [526]]
  assert [len(example['frames']) for example in stored] == [50, 50, 0]
  assert [len(example['audio']) for example in stored] == [96_000] * 3
  for example, start in ((stored[0], 0.0), (stored[1], 1.0)):
    # The whole video gave the second from 1 to 3.
    times = start + np.arange(96_000) / 48_000
    np.testing.assert_allclose(example['audio'] / 2**15, times / 10, atol=1e-4)
  assert stored[0]['frames'][0].startswith(b'\xff\xd8')  # JPEG


def test_what_cannot_be_used_is_named(prepared, manual, tmp_path, capsys):
  builder = Audioset(
    config='balanced_train', data_dir=tmp_path, file_format='array_record'
  )
  prepare(builder, manual, workers=0)
  printed = capsys.readouterr().out
  assert '4 of 5 segments have a file' in printed
  assert '1 are not available' in printed
  assert 'left out 1 that cannot be used' in printed
  assert '-0broken____30.avi cannot be decoded' in printed
  (report,) = pathlib.Path(builder.data_dir).glob('left_out-*.txt')
  assert report.read_text().startswith('-0broken____30: ')


def test_beam_makes_the_same_data_set(prepared, manual, tmp_path, capsys):
  builder = Audioset(
    config='balanced_train', data_dir=tmp_path, file_format='array_record'
  )
  prepare(builder, manual, workers=1)
  assert 'left out 1 that cannot be used' in capsys.readouterr().out
  ours, theirs = (
    opened(prepared, 'balanced_train'),
    opened(tmp_path, builder.builder_config.name),
  )
  assert len(ours) == len(theirs) == 3
  for one, other in zip(ours, theirs, strict=True):
    assert one.keys() == other.keys()
    for name in one:
      np.testing.assert_array_equal(one[name], other[name])


def test_a_list_of_several_shards_keeps_its_order(
  manual, small_frames, tmp_path, monkeypatch
):
  monkeypatch.setattr(sharded_builder, '_ITEMS_OF_A_SHARD', 1)
  for workers in (0, 1):
    builder = Audioset(
      config='eval',
      data_dir=tmp_path / str(workers),
      file_format='array_record',
    )
    prepare(builder, manual, workers=workers)
    assert builder.info.splits['examples'].shard_lengths == [1, 1]
    names = [example['name'] for example in builder.as_data_source('examples')]
    assert names == [b'-1evalevale_30', b'-2evalevale_30.5']


@pytest.fixture(scope='module')
def with_sound_and_video(prepared, tmp_path_factory):
  """The data set without the sound that has no video."""
  spec = audioset(str(prepared), **OPTIONS)
  dataset = spec.load()
  return spec, dataset


def test_training_clips_are_random_and_sound_fits_frames(with_sound_and_video):
  spec, dataset = with_sound_and_video
  starts = []
  for seed in range(40):
    example = dataset.augment(dataset.train[0], np.random.default_rng(seed))
    assert {name: (x.shape, x.dtype) for name, x in example.items()} == {
      name: (x.shape, x.dtype) for name, x in spec.example.items()
    }
    start = example['audio'][0] * 10 * 25  # In frames.
    greys = example['video'].mean(axis=(1, 2, 3)) * 255
    np.testing.assert_allclose(greys, 20 + 2 * (start + np.arange(8)), atol=2.0)
    np.testing.assert_allclose(
      np.diff(example['audio']), 1 / 480_000, atol=5e-5
    )
    assert set(np.flatnonzero(example['label'])) == {2, 5}
    starts.append(round(start))
  assert min(starts) < 8 and max(starts) > 34 and max(starts) <= 42


def test_held_out_clips_are_equally_spaced_and_numbered(with_sound_and_video):
  _, dataset = with_sound_and_video
  assert len(dataset.evaluation) == 2 * 5
  (batch,) = evaluation_batches(dataset, 10)
  np.testing.assert_array_equal(batch['recording'], [0] * 5 + [1] * 5)
  assert batch['recording'].dtype == np.int32
  starts = np.round(np.linspace(0, 42, 5))
  np.testing.assert_allclose(
    batch['audio'][:, 0] * 250, np.tile(starts, 2), atol=0.02
  )
  greys = batch['video'].mean(axis=(2, 3, 4))[:, 0] * 255
  expected = np.concatenate([100 + 2 * starts, 60 + 2 * starts])
  np.testing.assert_allclose(greys, expected, atol=2.0)


def test_sound_alone_needs_no_video(prepared):
  options = {**OPTIONS, 'modalities': ('audio',)}
  spec = audioset(str(prepared), **options)
  assert set(spec.example) == {'audio', 'label'}
  dataset = spec.load()
  example = dataset.augment(dataset.train[2], np.random.default_rng(0))
  assert set(example) == {'audio', 'label'}
  spectrum = np.abs(np.fft.rfft(example['audio']))
  assert spectrum.argmax() == pytest.approx(440 * 8 / 25, abs=1)
  with pytest.raises(ValueError, match='leave the video out'):
    with_video = audioset(str(prepared), **OPTIONS).load()
    with_video.augment(with_video.train[2], np.random.default_rng(0))


def test_lists_of_training_follow_each_other(prepared):
  joined = Joined(
    [opened(prepared, 'balanced_train'), opened(prepared, 'eval')]
  )
  assert len(joined) == 5
  assert [joined[i]['name'] for i in range(5)] == [
    *(x['name'] for x in opened(prepared, 'balanced_train')),
    *(x['name'] for x in opened(prepared, 'eval')),
  ]


def test_batches_of_training(prepared):
  options = {**OPTIONS, 'modalities': ('audio',)}
  dataset = audioset(str(prepared), **options).load()
  batch = next(train_batches(dataset, 4, seed=0, position=0))
  assert batch['audio'].shape == (4, 8 * 1920)
  assert batch['label'].shape == (4, 527) and batch['label'].sum() >= 4


# Every variant learns from what is prepared.


def small_task(variant, data_dir):
  config = config_module.get_config(variant)
  config.data.update(
    train_lists=('balanced_train',), num_frames=8, image_size=16
  )
  config.encoder.update(
    num_latents=4,
    latent_channels=16,
    self_attends_per_block=1,
    rematerialize='none',
  )
  if 'queries' in config:
    config.queries.num_channels = 16
  return make_task(config, str(data_dir))


def small_batch(task):
  dataset = task.data.load()
  example = dataset.augment(dataset.train[0], np.random.default_rng(0))
  batch = {name: x[None] for name, x in example.items()}
  return {**batch, 'weight': np.ones(1, np.float32)}


@pytest.mark.parametrize('variant', list(config_module._MODELS))
def test_batches_fit_the_model_of_every_variant(prepared, variant):
  task = small_task(variant, prepared)
  batch = small_batch(task)
  assert set(batch) == {*task.data.example, 'weight'}

  def loss_of(batch):
    params, state = task.model.init(jax.random.key(0), batch, is_training=True)
    logits, _ = task.model.apply(
      params, state, jax.random.key(1), batch, is_training=True
    )
    return logits, sum_of_means(task.loss_function(logits, batch)[0])

  logits, loss = jax.eval_shape(loss_of, batch)
  assert logits.shape == (1, 527) and loss.shape == ()


def test_steps_of_a_variant(prepared):
  task = small_task('mel', prepared)
  batch = small_batch(task)
  shapes, state = init_shapes(task.model, batch)
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda x: 0.02 * rng.standard_normal(x.shape, np.float32), shapes
  )

  @jax.jit
  def step(params):
    def loss_of(params):
      logits, _ = task.model.apply(
        params, state, jax.random.key(0), batch, is_training=True
      )
      return sum_of_means(task.loss_function(logits, batch)[0])

    loss, gradients = jax.value_and_grad(loss_of)(params)
    return loss, jax.tree.map(lambda p, g: p - 0.5 * g, params, gradients)

  losses = []
  for _ in range(5):
    loss, params = step(params)
    losses.append(float(loss))
  np.testing.assert_allclose(losses[0], np.log(2), atol=0.1)
  assert losses == sorted(losses, reverse=True)


def test_the_first_use_prepares_the_lists(
  manual, small_frames, tmp_path, monkeypatch
):
  # Where Apache Beam is not installed.
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  monkeypatch.setattr(sharded_builder, '_beam_runner', None)
  (tmp_path / 'downloads').mkdir()
  (tmp_path / 'downloads' / 'manual').symlink_to(manual)
  dataset = audioset(str(tmp_path), **OPTIONS).load()
  assert (len(dataset.train), len(dataset.evaluation)) == (3, 2 * 5)
  assert (tmp_path / 'audioset' / 'balanced_train').is_dir()
  with pytest.raises(FileNotFoundError, match='unbalanced_train_segments'):
    audioset(
      str(tmp_path), **{**OPTIONS, 'train_lists': ('unbalanced_train',)}
    ).load()


# What is wrong is said, with a remedy.


def test_without_the_lists_it_says_where_to_get_them(tmp_path):
  with pytest.raises(FileNotFoundError, match='class_labels_indices') as error:
    audioset(str(tmp_path), **OPTIONS).load()
  assert str(tmp_path / 'downloads' / 'manual' / 'audioset') in str(error.value)
  assert 'research.google.com/audioset' in str(error.value)
  assert 'YTID_START.mp4' in str(error.value)


def test_missing_files_are_named(tmp_path):
  root = tmp_path / 'audioset'
  write_lists(root)
  with pytest.raises(FileNotFoundError, match=r'audioset/media.*YTID_START'):
    find_segments(root, 'eval')
  (root / 'media').mkdir()
  with pytest.raises(FileNotFoundError, match='unbalanced_train_segments'):
    find_segments(root, 'unbalanced_train')
  with pytest.raises(ValueError, match=r'None of the 0.*-1evalevale_30\.mp4'):
    find_segments(root, 'eval')
  (root / 'media' / 'Y-1evalevale.mp4').touch()
  with pytest.raises(ValueError, match=r"None of the 1.*'Y-1evalevale'"):
    find_segments(root, 'eval')


def test_a_segment_with_two_files(tmp_path):
  write_lists(tmp_path)
  (tmp_path / 'media').mkdir()
  for suffix in ('mp4', 'wav'):
    (tmp_path / 'media' / f'-1evalevale_30.{suffix}').touch()
  with pytest.raises(ValueError, match=r'30\.wav and .*30\.mp4 are both'):
    find_segments(tmp_path, 'eval')


def test_segments_are_found_by_both_names(manual):
  by_name = {
    s.name: s for s in find_segments(manual / 'audioset', 'balanced_train')
  }
  cut, whole = by_name['--4gqARaEJE_0'], by_name['-0BIyqJj9ZU_1']
  assert (cut.start, cut.end) == (0.0, 2.0)
  assert (whole.start, whole.end, whole.path.name) == (1, 3, '-0BIyqJj9ZU.avi')


def test_a_list_is_parsed(tmp_path):
  write_lists(tmp_path)
  classes = read_classes(tmp_path / 'class_labels_indices.csv')
  assert len(classes) == 527 and classes['/m/0526'] == 526
  rows = read_list(tmp_path / 'eval_segments.csv', classes)
  assert rows == [
    ('-1evalevale', 30.0, 32.0, [3]),
    ('-2evalevale', 30.5, 32.5, [3, 4]),
  ]


@pytest.mark.parametrize(
  ('line', 'message'),
  [
    ('-3evalevale, 30.000, 32.000', 'line 6 should be YTID'),
    ('-3evalevale, 0:30, 32.000, "/m/0003"', "line 6 .*'0:30'"),
    ('-3evalevale, 30.000, 32.000, "/m/none"', 'line 6 .*/m/none'),
  ],
)
def test_a_broken_line_is_named(tmp_path, line, message):
  write_lists(tmp_path, held_out=f'{EVAL}{line}\n')
  classes = read_classes(tmp_path / 'class_labels_indices.csv')
  with pytest.raises(ValueError, match=f'eval_segments.csv, {message}'):
    read_list(tmp_path / 'eval_segments.csv', classes)


def test_a_list_that_is_cut_short(tmp_path):
  write_lists(tmp_path)
  path = tmp_path / 'balanced_train_segments.csv'
  path.write_text(''.join(path.read_text().splitlines(keepends=True)[:-1]))
  classes = read_classes(tmp_path / 'class_labels_indices.csv')
  with pytest.raises(ValueError, match='should have 5 segments, and has 4'):
    read_list(path, classes)
  path.write_text('')
  with pytest.raises(ValueError, match='should have 1 segments, and has 0'):
    read_list(path, classes)


def test_a_list_of_classes_that_is_cut_short(tmp_path):
  write_lists(tmp_path)
  path = tmp_path / 'class_labels_indices.csv'
  path.write_text(''.join(path.read_text().splitlines(keepends=True)[:-1]))
  with pytest.raises(ValueError, match=r'should have 527 lines.*has 526'):
    read_classes(path)


@pytest.mark.parametrize('workers', [0, 1])
def test_when_all_files_are_broken(tmp_path, workers):
  root = tmp_path / 'audioset'
  write_lists(root)
  (root / 'media').mkdir()
  for name in ('-1evalevale_30.mp4', '-2evalevale_30.5.mp4'):
    (root / 'media' / name).write_bytes(b'no film')
  builder = Audioset(
    config='eval', data_dir=tmp_path, file_format='array_record'
  )
  with pytest.raises(ValueError, match='None of 2 items') as error:
    prepare(builder, tmp_path, workers=workers)
  assert '-1evalevale_30.mp4 cannot be decoded' in str(error.value)
  # Nothing half prepared is left to be taken for the data set.
  assert not pathlib.Path(builder.data_dir).exists()


def test_a_recording_shorter_than_a_clip(tmp_path):
  path = write_media(
    tmp_path / 'short.flac', samples=sine(440, 0.5, 48_000)[None]
  )
  item = module.Segment('short_0', path, 0.0, 10.0, [1])
  name, problem = Audioset.read(item)
  assert name == 'short_0'
  assert problem == f'short_0: {path} has 0.48 s, fewer than 1.28.'


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'train_lists': ('eval',)}, 'data.train_lists'),
    ({'train_lists': ()}, 'data.train_lists'),
    ({'modalities': ('audio', 'audio')}, 'data.modalities'),
    ({'modalities': ('image',)}, r"data.modalities.*'audio', 'video'"),
    ({'num_frames': 33}, 'from 1 to 32.*got 33'),
    ({'evaluation_clips': 0}, 'at least 1, got 8 and 0'),
  ],
)
def test_bad_arguments(change, message):
  with pytest.raises(ValueError, match=message):
    audioset(None, **{**OPTIONS, **change})
