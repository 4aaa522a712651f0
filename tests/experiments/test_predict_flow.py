"""Two images in, their flow out: as numbers, as files and as a picture."""

import cv2
import numpy as np
import pytest

from experiments import predict
from experiments.answers.flow.record import FLOW, Flow
from experiments.configs import flow as config_module
from experiments.datasets.flow.autoflow import autoflow
from experiments.modalities.frames.colours import flow_colours
from experiments.modalities.frames.drawing import draw_flow, draw_key
from experiments.modalities.frames.files import parse_flo
from experiments.modalities.frames.frames import normalized, pixels, view_frames
from experiments.pages.pictures import write_picture
from tests.small_runs import random_run


def rng(seed=0):
  return np.random.default_rng(seed)


def images(seed, *shape):
  return rng(seed).integers(0, 256, (2, *shape, 3)).astype(np.uint8)


def write_pair(folder, frames, names=('a.png', 'b.png')):
  paths = [folder / name for name in names]
  for path, frame in zip(paths, frames, strict=True):
    write_picture(frame, path)
  return paths


@pytest.fixture(scope='module')
def run():
  config = config_module.get_config('embedded')
  config.data.update(height=16, width=24)
  config.preprocessor.num_channels = 8
  config.preprocessor.positions.update(num_bands=2, max_resolution=(4, 6))
  config.encoder.update(
    num_latents=4, latent_channels=8, self_attends_per_block=1
  )
  config.decoder.update(qk_channels=8, v_channels=8)
  return random_run(config)


# Frames.


def test_pixels_survive_what_a_model_takes():
  every = np.arange(256, dtype=np.uint8).reshape(2, 8, 16, 1).repeat(3, axis=-1)
  frames = normalized(every)
  assert frames.min() == -1 and frames.max() == 1
  np.testing.assert_array_equal(pixels(frames), every)
  np.testing.assert_array_equal(
    view_frames({'frames': frames})['frames'].frames, every
  )
  # Colours that training changes may leave the range.
  assert pixels(np.float32([[-1.2, 1.2, 0.0]])).tolist() == [[0, 255, 128]]


def test_files_are_the_frames_of_an_example(run, tmp_path):
  frames = images(0, 16, 24)
  (example,) = run.read(*write_pair(tmp_path, frames))
  assert example['frames'].dtype == np.float32
  np.testing.assert_array_equal(
    example['frames'], frames.astype(np.float32) / np.float32(127.5) - 1
  )


def test_images_that_are_no_pair(run, tmp_path):
  a, b = write_pair(tmp_path, images(1, 16, 24))
  with pytest.raises(ValueError, match=r'input of this run is 2 file.*got 1'):
    run.predict(a)
  write_picture(images(1, 24, 16)[0], b)
  message = f'{a} has 24 x 16 pixels and {b} 16 x 24'
  with pytest.raises(ValueError, match=message):
    run.predict(a, b)
  small = write_pair(tmp_path, images(1, 15, 24), ('c.png', 'd.png'))
  message = r'24 x 15 pixels .* from 24 x 16 to 192 x 128\. Make both larger'
  with pytest.raises(ValueError, match=message):
    run.predict(*small)
  large = write_pair(tmp_path, images(1, 16, 193), ('f.png', 'g.png'))
  with pytest.raises(ValueError, match=r'193 x 16 pixels .* both smaller'):
    run.predict(*large)
  b.write_bytes(b'no image')
  with pytest.raises(ValueError, match=f'{b} is no image'):
    run.predict(a, b)
  with pytest.raises(FileNotFoundError, match=r'gone\.png: there is no such'):
    run.predict(a, tmp_path / 'gone.png')
  (tmp_path / 'e.mp4').write_bytes(b'')
  with pytest.raises(ValueError, match=r'e\.mp4: this run reads \.jpg'):
    run.predict(a, tmp_path / 'e.mp4')


def test_a_model_of_autoflow_takes_images_too():
  spec = autoflow(
    None,
    height=8,
    width=10,
    augment=False,
    min_scale=0.0,
    max_scale=0.0,
    evaluation='kitti',
  )
  assert spec.files.count == 2 and spec.view is view_frames


# A model.


def test_the_flow_of_files_is_that_of_arrays(run, tmp_path):
  frames = images(2, 16, 24)
  answer = run.predict(*write_pair(tmp_path, frames))
  np.testing.assert_array_equal(answer.frames, frames)
  expected = np.asarray(run({'frames': normalized(frames)[None]}))[0]
  assert expected.std() > 1e-3
  np.testing.assert_array_equal(answer.flow, expected)


def test_what_is_written_is_read_back(run, tmp_path):
  frames = images(3, 16, 24)
  answer = run.predict(*write_pair(tmp_path, frames))
  written = FLOW.write(answer, tmp_path / 'new' / 'folder', 'a.1-b')
  assert [path.name for path in written] == [
    'a.1-b.png',
    'a.1-b.flo',
    'a.1-b.npz',
  ]
  picture, flo, arrays = written
  flow, valid = parse_flo(flo.read_bytes(), flo.name)
  assert valid.all() and answer.flow.dtype == np.float32
  np.testing.assert_array_equal(flow, answer.flow)
  with np.load(arrays, allow_pickle=False) as loaded:
    np.testing.assert_array_equal(loaded['flow'], answer.flow)
  drawn = cv2.imread(str(picture))[..., ::-1]
  np.testing.assert_array_equal(drawn, draw_flow(frames, answer.flow))


def test_pairs_are_answered_in_order_and_named_apart(run, tmp_path):
  for folder in ('x', 'y'):
    (tmp_path / folder).mkdir()
  first = write_pair(tmp_path / 'x', images(4, 16, 24))
  second = write_pair(tmp_path / 'y', images(5, 16, 24))
  files = [str(path) for path in (*first, *second)]
  (_, one), (_, two) = predict.answers(run, files, [])
  assert (one.frames[0] != two.frames[0]).any()
  # Batches of one and of two are compiled apart.
  np.testing.assert_allclose(one.flow, run.predict(*first).flow, atol=1e-5)
  np.testing.assert_allclose(two.flow, run.predict(*second).flow, atol=1e-5)
  taken = set()
  names = [predict.name_of(pair, taken) for pair in (first, second, first)]
  assert names == ['a-b', 'a-b-2', 'a-b-3']
  with pytest.raises(ValueError, match='2 files, and 3 were given'):
    list(predict.answers(run, files[:3], []))
  with pytest.raises(ValueError, match='takes no text'):
    run.predict_text('left')


# Words and pictures.


def test_motion_in_words_and_numbers():
  flow = np.zeros((2, 2, 2), np.float32)
  flow[0, 0] = -6, 8
  flow[0, 1] = -3, 4
  flow[1, 0] = 1, 0
  answer = Flow(images(6, 2, 2), flow)
  assert FLOW.json(answer, 5) == {
    'motion': {'median': 3.0, 'fastest': 10.0, 'mean': [-2.0, 3.0]}
  }
  (line,) = FLOW.lines(answer, 5)
  assert '3.00 pixels in the median, 10.00 at most' in line
  assert line.endswith('on average 2.00 left and 3.00 down')


def test_frames_flow_and_key_stand_side_by_side():
  frames = images(7, 100, 192)  # Enlarged twice.
  flow = rng(7).normal(0, 3, (100, 192, 2))
  picture = draw_flow(frames, flow)
  assert picture.dtype == np.uint8 and picture.shape == (200, 3 * 384 + 97, 3)
  fastest = np.hypot(*np.moveaxis(flow, -1, 0)).max()
  panels = [*frames, flow_colours(flow, max_motion=fastest)]
  for i, panel in enumerate(panels):
    part = picture[:, 384 * i : 384 * (i + 1)]
    np.testing.assert_array_equal(part[::2, ::2], panel)
    np.testing.assert_array_equal(part[1::2, 1::2], panel)
  np.testing.assert_array_equal(picture[:97, 3 * 384 :], draw_key(97))
  assert (picture[97:, 3 * 384 :] == 235).all()


def test_rest_is_white_and_low_pictures_cut_the_key():
  picture = draw_flow(images(8, 40, 400), np.zeros((40, 400, 2)))
  assert picture.shape == (40, 1297, 3)
  assert (picture[:, 800:1200] == 255).all()


def test_the_key_has_the_colours_of_the_directions():
  key = draw_key(97)
  assert (key[48, 48] == 255).all() and (key[0, 0] == 235).all()
  flow = np.array([[[1.0, 0], [0, 1], [-1, 0], [0, -1]]])
  right, down, left, up = flow_colours(flow, max_motion=1.0)[0]
  np.testing.assert_array_equal(key[48, 96], right)
  np.testing.assert_array_equal(key[96, 48], down)
  np.testing.assert_array_equal(key[48, 0], left)
  np.testing.assert_array_equal(key[0, 48], up)
