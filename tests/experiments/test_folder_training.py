"""Your own files of every kind, to a step of training and an evaluation."""

import contextlib
import json
import shutil

import jax
import ml_collections
import numpy as np
import pytest
from PIL import Image

from experiments.configs import folder as folder_config
from experiments.data.pipeline import evaluation_batches, train_batches
from experiments.host.configuration import read_config
from experiments.stepping.train_state import init_shapes
from experiments.tasks import make_task
from experiments.tasks.open_values import settle
from experiments.train import train_and_evaluate
from perceiver_jax.metrics import sum_of_means
from tests.media_files import grey_frames, sine, write_media
from tests.pages import Page

# Class by split: two files to train, one to test, of either class.
PLACES = [
  (split, label, i)
  for split, count in (('train', 2), ('test', 1))
  for label in ('high', 'low')
  for i in range(count)
]


def write_image(path, high, i):
  pixels = np.full((20, 30, 3), 200 if high else 50, np.uint8)
  Image.fromarray(pixels).save(path.with_suffix('.png'))


def write_sound(path, high, i):
  # 0.2 and 0.3 s, 8 kHz; the odd one out is of another rate.
  rate = 16_000 if (high, i) == (True, 1) else 8_000
  samples = sine(900 if high else 300, 0.2 + 0.1 * (i == 0), rate)
  write_media(path.with_suffix('.wav'), samples=samples[None], sample_rate=rate)


def write_video(path, high, i):
  greys = [40, 200] * 8 if high else [120] * 16
  frames = grey_frames(greys, 16, 32)
  write_media(path.with_suffix('.mp4'), frames=frames, frame_rate=8)


def write_shape(path, high, i):
  size = [1, 1, 5] if high else [1, 1, 1]
  points = np.random.default_rng(i).uniform(-1, 1, (30 + i, 3)) * size
  np.savetxt(path.with_suffix('.xyz'), points)


def write_text(path, high, i):
  text = ('grüne Wörter ' if high else 'other words ') * (3 + i)
  path.with_suffix('.txt').write_text(text, encoding='utf-8')


def write_series(path, high, i):
  times = np.arange(600 - 100 * i)
  values = np.stack([np.sin(times / (2 if high else 9)), times / 600], axis=1)
  np.savetxt(path.with_suffix('.csv'), values, delimiter=',')


# By variant: what writes a file, and what is printed of the folder.
VARIANTS = {
  'image': (
    write_image,
    'image: 21 x 21 pixels, 49 patches of 3 x 3, 2 classes, 4 + 2 files',
  ),
  'audio': (
    write_sound,
    'audio: 8,000 Hz, 0.30 s = 2,400 samples, 150 patches of 16, 2 classes, '
    '4 + 2 files',
  ),
  'video': (
    write_video,
    'video: 8 frames at 4 Hz of 16 x 16 pixels, 256 patches of 2 x 2 x 2, '
    '2 classes, 4 + 2 files',
  ),
  'mesh': (
    write_shape,
    'points: 30 of each shape, 2 classes, 4 + 2 files',
  ),
  'text': (
    write_text,
    # Four times 12 bytes without the last space, or 15 of three more.
    'text: 59 bytes of each, 2 classes, 4 + 2 texts',
  ),
  'timeseries': (
    write_series,
    'series: 2 channels, 600 steps (files have 500 to 600), 60 patches of 10, '
    '2 classes, 4 + 2 files',
  ),
}


def write_folder(root, write):
  for split, label, i in PLACES:
    folder = root / split / label
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / str(i), label == 'high', i)


def small(variant, root):
  config = folder_config.get_config(variant)
  config.data.root = str(root)
  config.batch_size = 2
  config.train_steps = config.log_every = config.eval_every = 1
  config.checkpoint_every = 1
  config.schedule.warmup_steps = 0
  config.report = {'seconds': 100.0}
  config.encoder.num_latents = 4
  config.encoder.latent_channels = 8
  config.encoder.self_attends_per_block = 1
  config.encoder.cross_attends = (1,)
  return config


@pytest.mark.slow
def test_a_run_has_plain_values(tmp_path, capsys):
  write, note = VARIANTS['timeseries']
  root, workdir, data_dir = (tmp_path / name for name in ('own', 'run', 'data'))
  write_folder(root, write)
  config = small('timeseries', root)
  results = train_and_evaluate(config, workdir, str(data_dir))
  assert results['eval/accuracy'] in (0.0, 0.5, 1.0)
  output = capsys.readouterr().out
  assert f'Chosen from the data: {note}.' in output
  assert 'Data: 4 training and 2 held-out examples of 2 classes.' in output
  report = Page((workdir / 'report.html').read_text())
  (table,) = [rows for rows in report.tables if 'high' in rows[0]]
  right = sum(int(row[i + 1] or 0) for i, row in enumerate(table[1:]))
  assert right == 2 * results['eval/accuracy']
  assert 'Worst examples' in report.words and 'Attention' in report.words
  stored = read_config(workdir)
  assert settle(stored, str(data_dir)) == (stored, '')
  assert stored.data.num_steps == 600
  assert stored.data.classes == ['high', 'low']
  assert stored.inputs.series.patch == 10


@pytest.mark.slow
def test_what_is_tested_did_not_choose_the_checkpoint(tmp_path, capsys):
  """Labels in test/ are exchanged: what is right in val/ is wrong there."""
  root, workdir, data_dir = (tmp_path / name for name in ('own', 'run', 'data'))
  write_folder(root, write_series)
  shutil.copytree(root / 'test', root / 'val')
  (root / 'test' / 'high').rename(root / 'test' / 'x')
  (root / 'test' / 'low').rename(root / 'test' / 'high')
  (root / 'test' / 'x').rename(root / 'test' / 'low')
  config = small('timeseries', root)
  results = train_and_evaluate(config, workdir, str(data_dir))
  assert '2 held-out examples of 2 classes; 2 more choose the checkpoint.' in (
    capsys.readouterr().out
  )
  right = results['eval_ema/accuracy']
  assert right + results['test/accuracy'] == pytest.approx(1.0)
  rows = [
    json.loads(line)
    for line in (workdir / 'metrics.jsonl').read_text().splitlines()
  ]
  assert rows[-1]['test/accuracy'] == results['test/accuracy']
  page = Page((workdir / 'report.html').read_text())
  assert 'accuracy, test' in page.words


@pytest.mark.parametrize('variant', VARIANTS)
def test_training_examples_go_through_the_model(variant, tmp_path):
  write, note = VARIANTS[variant]
  write_folder(tmp_path / 'own', write)
  config, said = settle(small(variant, tmp_path / 'own'), None)
  assert said == note
  assert 'null' not in config.to_json()
  task = make_task(config, str(tmp_path / 'data'))
  dataset = task.data.load()
  with contextlib.closing(
    train_batches(dataset, 2, seed=0, position=0)
  ) as batches:
    batch = next(batches)
  held_out = next(evaluation_batches(dataset, 2))
  for name, spec in task.data.example.items():
    for arrays in (batch, held_out):
      assert arrays[name].shape == (2, *spec.shape), name
      assert arrays[name].dtype == spec.dtype, name
  assert sorted(held_out['label']) == [0, 1]
  check_step(task, batch)


def check_step(task, batch):
  """A loss, and a gradient of each parameter; only the loss is compiled."""
  shapes, state = init_shapes(task.model, batch)
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda x: rng.normal(scale=0.1, size=x.shape).astype(x.dtype), shapes
  )

  def loss_of(params):
    predictions, _ = task.model.apply(
      params, state, jax.random.key(0), batch, is_training=True
    )
    return sum_of_means(task.loss_function(predictions, batch)[0])

  loss = jax.jit(loss_of)(params)
  assert 0.1 < loss < 2.0  # Of two classes: about 0.69.
  gradient = jax.eval_shape(jax.grad(loss_of), params)
  assert jax.tree.map(np.shape, gradient) == jax.tree.map(np.shape, params)


def dataset_of(variant, root, tmp_path, **data):
  write_folder(root, VARIANTS[variant][0])
  config = folder_config.get_config(variant)
  config.data.root = str(root)
  config.data.update(data)
  settled, _ = settle(config, None)
  return settled, make_task(settled, str(tmp_path / 'data')).data.load()


def prepared(dataset, label):
  for i in range(len(dataset.evaluation)):
    example = dataset.prepare(dataset.evaluation[i])
    if example['label'] == label:
      return example
  raise AssertionError(label)


def test_numbers_of_images(tmp_path):
  config, dataset = dataset_of('image', tmp_path / 'own', tmp_path)
  np.testing.assert_allclose(config.data.mean, [125 / 255] * 3, rtol=1e-4)
  np.testing.assert_allclose(config.data.stddev, [75 / 255] * 3, rtol=1e-4)
  for label, value in ((0, 1.0), (1, -1.0)):  # 'high' comes first.
    image = prepared(dataset, label)['image']
    np.testing.assert_allclose(image, value, atol=1e-3)


def test_numbers_of_sounds(tmp_path):
  config, dataset = dataset_of('audio', tmp_path / 'own', tmp_path)
  assert config.data.stddev == pytest.approx(0.5 / np.sqrt(2), rel=0.01)
  audio = prepared(dataset, 1)['audio']
  assert audio.std() == pytest.approx(1.0, rel=0.02)
  expected = sine(300, 0.3, 8_000) / config.data.stddev
  np.testing.assert_allclose(audio, expected, atol=1e-3)


def test_numbers_of_videos(tmp_path):
  config, dataset = dataset_of('video', tmp_path / 'own', tmp_path)
  video = prepared(dataset, 1)['video']
  mean, stddev = config.data.mean[0], config.data.stddev[0]
  np.testing.assert_allclose(video, (120 / 255 - mean) / stddev, atol=0.05)


def test_a_shape_of_few_points_shows_some_again(tmp_path):
  _, dataset = dataset_of('mesh', tmp_path / 'own', tmp_path, num_points=40)
  points = prepared(dataset, 0)['points']
  assert points.shape == (40, 4)
  sizes, points = points[:, 3], points[:, :3]
  np.testing.assert_array_equal(sizes, sizes[0])
  np.testing.assert_array_equal(points[30:], points[:10])
  np.testing.assert_allclose(points.mean(axis=0), 0.0, atol=1e-6)
  assert np.abs(points).max() == pytest.approx(1.0)
  assert len(np.unique(points, axis=0)) == 30


def test_numbers_of_texts(tmp_path):
  config, dataset = dataset_of('text', tmp_path / 'own', tmp_path)
  assert config.labels.label == 2
  assert config.embedding.max_length == config.data.length == 59
  example = prepared(dataset, 0)
  text = ('grüne Wörter ' * 3).strip().encode()
  tokens = np.frombuffer(text, np.uint8).astype(int) + 6
  np.testing.assert_array_equal(example['tokens'][: len(text)], tokens)
  assert example['mask'].sum() == len(text)


def test_texts_of_two_tables(tmp_path):
  root = tmp_path / 'own'
  root.mkdir()
  (root / 'train.tsv').write_text('a\tone two three four\nb\tfive\nb\t\n')
  (root / 'test.tsv').write_text('b\tsix\ta tab\n')
  config = folder_config.get_config('text')
  config.data.root = str(root)
  with pytest.raises(ValueError, match=r'train\.tsv, line 3 is empty'):
    settle(config, None)
  config.data.skip_unreadable = True
  settled, note = settle(config, None)
  assert note == (
    "text: 18 bytes of each, 2 classes, 2 + 1 texts; a single example of 'a', "
    "'b'"
  )
  dataset = make_task(settled, None).data.load()
  example = dataset.prepare(dataset.evaluation[0])
  assert bytes((example['tokens'][:9] - 6).astype(np.uint8)) == b'six\ta tab'
  (root / 'test.tsv').write_text('c\tsix\n')
  with pytest.raises(ValueError, match="does not know: 'c'"):
    make_task(settled, None).data.load()


def test_numbers_of_series(tmp_path):
  config, dataset = dataset_of('timeseries', tmp_path / 'own', tmp_path)
  files = [
    np.loadtxt(path, delimiter=',')
    for path in sorted((tmp_path / 'own' / 'train').rglob('*.csv'))
  ]
  steps = np.concatenate(files)
  np.testing.assert_allclose(config.data.mean, steps.mean(axis=0), atol=1e-4)
  np.testing.assert_allclose(config.data.stddev, steps.std(axis=0), rtol=1e-4)
  example = prepared(dataset, 0)
  expected = (files[0] - config.data.mean) / config.data.stddev
  np.testing.assert_allclose(example['series'], expected, atol=1e-5)
  assert example['input_mask'].all()


def test_a_short_series_is_masked(tmp_path):
  _, dataset = dataset_of(
    'timeseries', tmp_path / 'own', tmp_path, num_steps=768
  )
  example = prepared(dataset, 0)
  assert example['input_mask'].tolist() == [True] * 50 + [False] * 14
  np.testing.assert_array_equal(example['series'][600:], 0.0)


def test_channels_must_be_the_same(tmp_path):
  root = tmp_path / 'own'
  settled, _ = dataset_of('timeseries', root, tmp_path)
  np.savetxt(root / 'train' / 'low' / '1.csv', np.ones((9, 3)), delimiter=',')
  config = folder_config.get_config('timeseries')
  config.data.root = str(root)
  with pytest.raises(ValueError, match=r'2 channels and .*1\.csv has 3'):
    settle(config, None)
  with pytest.raises(ValueError, match=r'1\.csv has 3 channels; .* have 2'):
    make_task(settled, str(tmp_path)).data.load()


@pytest.mark.parametrize('variant', VARIANTS)
def test_a_file_is_read_where_the_folder_is_not(variant, tmp_path):
  root = tmp_path / 'own'
  settled, dataset = dataset_of(variant, root, tmp_path)
  expected = prepared(dataset, 0)
  (path,) = (root / 'test' / 'high').iterdir()
  path = path.rename(tmp_path / path.name)
  shutil.rmtree(root)
  stored = ml_collections.ConfigDict(json.loads(settled.to_json()))
  spec = make_task(stored, str(tmp_path / 'nothing')).data
  assert spec.class_names == ('high', 'low')
  (example,) = spec.files.read(path)
  assert set(example) == set(expected) - {'label'}
  for name, array in example.items():
    np.testing.assert_array_equal(array, expected[name], err_msg=name)
    assert array.dtype == spec.example[name].dtype
  assert len(spec.view(example)) == 1
  with pytest.raises(FileNotFoundError, match=r'config\.data\.root'):
    spec.load()


def parts_of(variant, tmp_path, **data):
  root = tmp_path / 'own'
  write_folder(root, VARIANTS[variant][0])
  config = folder_config.get_config(variant)
  config.data.root = str(root)
  config.data.update(data)
  spec = make_task(settle(config, None)[0], None).data
  (path,) = (root / 'test' / 'low').iterdir()
  return [spec.view(part) for part in spec.files.read(path)]


def test_the_parts_of_a_long_sound(tmp_path):
  views = parts_of('audio', tmp_path, num_samples=1600)
  first, last = (view['audio'].samples for view in views)
  expected = sine(300, 0.3, 8_000)
  np.testing.assert_allclose(first, expected[:1600], atol=1e-3)
  np.testing.assert_allclose(last, expected[800:], atol=1e-3)
  assert views[0]['audio'].rate == 8_000


def test_the_parts_of_a_long_series(tmp_path):
  views = parts_of('timeseries', tmp_path, num_steps=256)
  values = [view['series'].values[:, 1] for view in views]
  assert [len(each) for each in values] == [256, 256, 256]
  for each, start in zip(values, [0, 256, 344], strict=True):
    times = np.arange(start, start + 256)
    np.testing.assert_allclose(each, times / 600, atol=1e-5)
  (view,) = parts_of('timeseries', tmp_path, num_steps=768)
  assert len(view['series'].values) == 600  # Without what is past the end.


def test_the_parts_of_a_long_video(tmp_path):
  views = parts_of('video', tmp_path, num_frames=4, frame_rate=4.0)
  assert len(views) == 2
  for view in views:
    assert view['video'].frames.shape == (4, 16, 16, 3)
    np.testing.assert_allclose(view['video'].frames, 120, atol=3)
    assert view['video'].rate == 4.0


def test_pictures_and_shapes_are_seen_as_they_were(tmp_path):
  (view,) = parts_of('image', tmp_path / 'image')
  np.testing.assert_array_equal(view['image'].pixels, 50)
  (view,) = parts_of('mesh', tmp_path / 'mesh')
  assert view['points'].coordinates.shape == (30, 3)


def test_sizes_that_are_no_whole_patches(tmp_path):
  write_folder(tmp_path, write_image)
  config = folder_config.get_config('image')
  config.data.root = str(tmp_path)
  config.data.image_size = 37
  with pytest.raises(ValueError, match=r'data\.image_size = 37 .* such as 40'):
    settle(config, None)


def test_a_file_of_the_wrong_kind_is_refused(tmp_path):
  write_folder(tmp_path, write_text)
  config = folder_config.get_config('audio')
  config.data.root = str(tmp_path)
  with pytest.raises(ValueError, match=r'\.txt.*Read are \.wav, \.flac'):
    settle(config, None)
