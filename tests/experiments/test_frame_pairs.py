"""AutoFlow, Sintel and KITTI from folders like the real ones, small."""

import cv2
import numpy as np
import pytest

from experiments.datasets.flow import autoflow as autoflow_module
from experiments.datasets.flow import kitti as kitti_module
from experiments.datasets.flow import sintel as sintel_module
from experiments.datasets.flow.autoflow import Autoflow, autoflow
from experiments.datasets.flow.frame_pairs import (
  decode_pair,
  flow_example,
  open_pairs,
  pad_pair,
)
from experiments.datasets.flow.kitti import KittiFlow
from experiments.datasets.flow.sintel import Sintel
from experiments.modalities.frames.augmentation import FramePair
from experiments.modalities.frames.files import format_flo

OPTIONS = dict(
  height=8,
  width=12,
  augment=False,
  min_scale=-0.2,
  max_scale=0.5,
  evaluation='kitti',
)
SHAPE = (10, 14)


def rng(seed):
  return np.random.default_rng(seed)


def write_frame(path, seed, shape=SHAPE):
  path.parent.mkdir(parents=True, exist_ok=True)
  image = rng(seed).integers(0, 256, (*shape, 3)).astype(np.uint8)
  path.write_bytes(cv2.imencode('.png', image[..., ::-1])[1].tobytes())
  return image


def write_flo(path, seed, shape=SHAPE):
  path.parent.mkdir(parents=True, exist_ok=True)
  flow = rng(seed).normal(size=(*shape, 2)).astype(np.float32)
  path.write_bytes(format_flo(flow))
  return flow


def manual(data_dir, builder):
  return data_dir / 'downloads' / 'manual' / builder.FOLDER


def write_autoflow(data_dir):
  for part in (1, 2, 3, 4):
    folder = manual(data_dir, Autoflow) / f'static_40k_png_{part}_of_4'
    folder = folder / f'table_{part}_batch_0'
    write_frame(folder / 'im0.png', 10 * part)
    write_frame(folder / 'im1.png', 10 * part + 1)
    write_flo(folder / 'forward.flo', 10 * part + 2)


def write_sintel(data_dir):
  training = manual(data_dir, Sintel) / 'training'
  for scene, frames in (('alley_1', 3), ('market_2', 2)):
    for number in range(1, frames + 1):
      name = f'{scene}/frame_{number:04d}'
      write_frame(training / 'clean' / f'{name}.png', number)
      write_frame(training / 'final' / f'{name}.png', number + 100)
      if number < frames:
        write_flo(training / 'flow' / f'{name}.flo', number)


def write_kitti(data_dir):
  training = manual(data_dir, KittiFlow) / 'training'
  for number, shape in (('000000', (9, 13)), ('000001', SHAPE)):
    for moment in ('10', '11'):
      write_frame(training / 'image_2' / f'{number}_{moment}.png', 1, shape)
    flow = np.zeros((*shape, 3), np.uint16)
    flow[2, 3] = (1, 2**15 + 32, 2**15 - 640)  # Valid, v, u.
    path = training / 'flow_occ' / f'{number}_10.png'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode('.png', flow)[1].tobytes())


@pytest.fixture
def small(monkeypatch):
  monkeypatch.setattr(autoflow_module, '_PAIRS', 4)
  monkeypatch.setattr(sintel_module, '_PAIRS', 3)
  monkeypatch.setattr(kitti_module, '_PAIRS', 2)


@pytest.fixture
def trained_on_autoflow(tmp_path, small):
  write_autoflow(tmp_path)
  write_kitti(tmp_path)
  return autoflow(str(tmp_path), **OPTIONS).load()


def test_autoflow_from_its_folders(tmp_path, small):
  write_autoflow(tmp_path)
  source = open_pairs(Autoflow, 'train', str(tmp_path))
  names = [source[i]['name'].decode() for i in range(4)]
  assert sorted(names) == [
    f'static_40k_png_{part}_of_4/table_{part}_batch_0' for part in (1, 2, 3, 4)
  ]
  third = names.index('static_40k_png_3_of_4/table_3_batch_0')
  frames, flow, valid = decode_pair(source[third])
  np.testing.assert_array_equal(
    frames[0], rng(30).integers(0, 256, (10, 14, 3))
  )
  np.testing.assert_array_equal(
    frames[1], rng(31).integers(0, 256, (10, 14, 3))
  )
  np.testing.assert_array_equal(
    flow, rng(32).normal(size=(10, 14, 2)).astype(np.float32)
  )
  assert valid.all()


def test_sintel_in_both_passes(tmp_path, small):
  write_sintel(tmp_path)
  clean = open_pairs(Sintel, 'clean', str(tmp_path))
  final = open_pairs(Sintel, 'final', str(tmp_path))
  for source, offset in ((clean, 0), (final, 100)):
    names = [source[i]['name'].decode() for i in range(len(source))]
    assert sorted(names) == [
      'alley_1/frame_0001',
      'alley_1/frame_0002',
      'market_2/frame_0001',
    ]
    frames, flow, _ = decode_pair(source[names.index('alley_1/frame_0002')])
    for frame, number in zip(frames, (2, 3), strict=True):
      np.testing.assert_array_equal(
        frame, rng(number + offset).integers(0, 256, (10, 14, 3))
      )
    np.testing.assert_array_equal(
      flow, rng(2).normal(size=(10, 14, 2)).astype(np.float32)
    )


def test_kitti_frames_of_different_sizes_are_padded_to_one(trained_on_autoflow):
  dataset = trained_on_autoflow
  for i in range(2):
    stored = decode_pair(dataset.evaluation[i])
    height, width = stored.valid.shape
    example = dataset.prepare(dataset.evaluation[i])
    assert example['frames'].shape == (2, 376, 1242, 3)
    assert example['valid'].sum() == 1 and example['valid'][2, 3] == 1
    np.testing.assert_array_equal(example['flow'][2, 3], [-10.0, 0.5])
    np.testing.assert_allclose(
      example['frames'][:, :height, :width],
      stored.frames / 127.5 - 1,
      atol=1e-6,
    )
    border = example['frames'][:, height - 1, width - 1]
    np.testing.assert_array_equal(example['frames'][:, -1, -1], border)


def test_training_crops_come_from_the_pair(trained_on_autoflow):
  dataset = trained_on_autoflow
  pair = decode_pair(dataset.train[0])
  seed = next(seed for seed in range(9) if rng(seed).random() > 0.5)
  example = dataset.augment(dataset.train[0], rng(seed))  # Not reversed.
  assert example['frames'].shape == (2, 8, 12, 3)
  frames = np.rint((example['frames'] + 1) * 127.5)
  found = [
    (top, left)
    for top in range(3)
    for left in range(3)
    if np.array_equal(frames, pair.frames[:, top : top + 8, left : left + 12])
  ]
  ((top, left),) = found
  np.testing.assert_array_equal(
    example['flow'], pair.flow[top : top + 8, left : left + 12]
  )
  assert example['valid'].all()


def test_augmented_training_examples_change_with_the_generator(tmp_path, small):
  write_autoflow(tmp_path)
  write_kitti(tmp_path)
  dataset = autoflow(str(tmp_path), **{**OPTIONS, 'augment': True}).load()
  one, same, other = (
    dataset.augment(dataset.train[0], rng(seed)) for seed in (0, 0, 1)
  )
  for key in one:
    np.testing.assert_array_equal(one[key], same[key])
  assert one['frames'].shape == other['frames'].shape == (2, 8, 12, 3)
  assert not np.array_equal(one['frames'], other['frames'])


def test_too_fast_motion_is_not_trained_on(tmp_path, small):
  write_autoflow(tmp_path)
  write_kitti(tmp_path)
  flow = np.zeros((*SHAPE, 2), np.float32)
  flow[:, :7] = (500.0, 0.0)
  for path in manual(tmp_path, Autoflow).glob('*/*/forward.flo'):
    path.write_bytes(format_flo(flow))
  dataset = autoflow(str(tmp_path), **OPTIONS).load()
  seed = next(seed for seed in range(9) if rng(seed).random() > 0.5)
  example = dataset.augment(dataset.train[0], rng(seed))  # Not reversed.
  np.testing.assert_array_equal(example['valid'], example['flow'][..., 0] == 0)
  assert 0 < example['valid'].mean() < 1


def test_prepared_once(tmp_path, small):
  write_sintel(tmp_path)
  first = decode_pair(open_pairs(Sintel, 'clean', str(tmp_path))[0])
  for path in manual(tmp_path, Sintel).rglob('*.png'):
    path.unlink()
  again = decode_pair(open_pairs(Sintel, 'clean', str(tmp_path))[0])
  np.testing.assert_array_equal(first.frames, again.frames)


@pytest.mark.parametrize(
  ('builder', 'split', 'url'),
  [
    (Autoflow, 'train', 'autoflow-google.github.io'),
    (Sintel, 'final', 'MPI-Sintel-complete.zip'),
    (KittiFlow, 'train', 'data_scene_flow.zip'),
  ],
)
def test_without_the_folder_it_says_where_to_get_it(
  tmp_path, builder, split, url
):
  with pytest.raises(FileNotFoundError, match=url) as error:
    open_pairs(builder, split, str(tmp_path))
  assert str(manual(tmp_path, builder)) in str(error.value)
  assert 'flow.py:embedded' in str(error.value)


@pytest.mark.parametrize(
  ('write', 'builder', 'split', 'message'),
  [
    (write_autoflow, Autoflow, 'train', '40,000 folders.*has 4'),
    (write_sintel, Sintel, 'clean', '1,041 files.*has 3'),
    (write_kitti, KittiFlow, 'train', '200 files.*has 2'),
  ],
)
def test_folders_that_are_not_complete(
  tmp_path, write, builder, split, message
):
  write(tmp_path)
  for _ in range(2):  # Nothing half prepared is taken for the data set.
    with pytest.raises(ValueError, match=message):
      open_pairs(builder, split, str(tmp_path))


@pytest.mark.parametrize(
  ('write', 'builder', 'split', 'lost', 'message'),
  [
    (
      write_autoflow,
      Autoflow,
      'train',
      'static_40k_png_2_of_4/table_2_batch_0/im1.png',
      r"table_2_batch_0 lacks \['im1.png'\]",
    ),
    (
      write_sintel,
      Sintel,
      'clean',
      'training/final/alley_1/frame_0003.png',
      r'final/alley_1/frame_0003\.png is missing',
    ),
    (
      write_kitti,
      KittiFlow,
      'train',
      'training/image_2/000001_11.png',
      r'000001_11\.png is missing',
    ),
  ],
)
def test_a_missing_frame_is_named(
  tmp_path, small, write, builder, split, lost, message
):
  write(tmp_path)
  (manual(tmp_path, builder) / lost).unlink()
  with pytest.raises(ValueError, match=message):
    open_pairs(builder, split, str(tmp_path))


@pytest.mark.parametrize(
  ('name', 'data', 'message'),
  [
    ('training/flow/alley_1/frame_0001.flo', b'PIEH', 'begins with'),
    ('training/clean/alley_1/frame_0002.png', b'PIEH', 'not a whole'),
    (
      'training/flow/market_2/frame_0001.flo',
      format_flo(np.zeros((9, 14, 2))),
      r"one size.*'flow': \(9, 14\)",
    ),
  ],
)
def test_broken_files_are_named_when_prepared(
  tmp_path, small, name, data, message
):
  write_sintel(tmp_path)
  (manual(tmp_path, Sintel) / name).write_bytes(data)
  with pytest.raises(ValueError, match=message) as error:
    open_pairs(Sintel, 'clean', str(tmp_path))
  assert name.split('/')[2] in str(error.value)


def test_a_pair_that_is_larger_than_its_padding():
  pair = FramePair(
    np.zeros((2, 4, 5, 3), np.uint8),
    np.ones((4, 5, 2), np.float32),
    np.ones((4, 5), np.bool_),
  )
  padded = flow_example(pad_pair(pair, (6, 5)))
  assert padded['frames'].shape == (2, 6, 5, 3)
  assert padded['flow'].sum() == 40 and padded['valid'].sum() == 20
  with pytest.raises(ValueError, match='4 x 5 pixels does not fit into 3 x 9'):
    pad_pair(pair, (3, 9))


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'evaluation': 'sintel'}, "'sintel_clean', 'sintel_final'.*got 'sintel'"),
    ({'min_scale': 0.6}, 'min_scale = 0.6 must not be above'),
  ],
)
def test_options_out_of_range_are_refused(change, message):
  with pytest.raises(ValueError, match=message):
    autoflow(None, **{**OPTIONS, **change})
