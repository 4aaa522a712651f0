"""Your own files of every kind: numbers in, the same numbers out."""

import pathlib

import cv2
import numpy as np
import PIL.Image
import pytest
import trimesh

from experiments.files.media import (
  SOUND_EXTENSIONS,
  decode_audio,
  read_header,
)
from experiments.modalities.images.files import EXTENSIONS as IMAGES
from experiments.modalities.images.files import read_image
from experiments.modalities.images.folder import patch_side, squash
from experiments.modalities.points.files import read_shape
from experiments.modalities.series.augmentation import augment_series, window
from experiments.modalities.series.files import EXTENSIONS as SERIES
from experiments.modalities.series.files import read_series
from experiments.modalities.sound.augmentation import (
  centred,
  decode_int16,
  encode_int16,
)
from experiments.modalities.sound.folder import patch_samples
from experiments.modalities.text.files import read_text
from experiments.modalities.text.folder import read_lines
from experiments.modalities.video.folder import clip
from tests.media_files import grey_frames, sine, write_media


def rng(seed=0):
  return np.random.default_rng(seed)


def refuse(read, path):
  with pytest.raises(ValueError) as error:
    read(path)
  assert str(path) in str(error.value)
  return str(error.value)


# Images.


@pytest.fixture
def colours():
  """A smooth image, which lossy formats keep."""
  x, y = np.meshgrid(np.arange(16), np.arange(12))
  return np.stack([10 * x, 10 * y, 255 - 10 * x], axis=-1).astype(np.uint8)


@pytest.mark.parametrize('suffix', sorted(set(IMAGES) - {'.pgm', '.jfif'}))
def test_images_of_every_kind(tmp_path, colours, suffix):
  path = tmp_path / f'x{suffix}'
  if suffix == '.gif':
    PIL.Image.fromarray(colours).save(path)
  else:  # What is tested reads by Pillow; this is another one's file.
    cv2.imwrite(str(path), cv2.cvtColor(colours, cv2.COLOR_RGB2BGR))
  image = np.asarray(read_image(path))
  assert image.shape == (12, 16, 3) and image.dtype == np.uint8
  lossy = suffix in ('.jpg', '.jpeg', '.webp', '.gif')
  assert np.abs(image.astype(int) - colours).max() <= (60 if lossy else 0)
  assert np.abs(image.astype(int) - colours).mean() <= 12


def test_greys_become_three_equal_channels(tmp_path, colours):
  grey = colours[..., 0]
  for suffix in ('.png', '.pgm'):
    PIL.Image.fromarray(grey).save(tmp_path / f'x{suffix}')
    image = np.asarray(read_image(tmp_path / f'x{suffix}'))
    np.testing.assert_array_equal(image, np.repeat(grey[..., None], 3, axis=2))


def test_sixteen_bits_become_eight(tmp_path):
  values = np.array([[0, 257, 65535], [128 * 257, 1000, 30000]], np.uint16)
  PIL.Image.fromarray(values).save(tmp_path / 'x.png')
  image = np.asarray(read_image(tmp_path / 'x.png'))
  np.testing.assert_array_equal(image[..., 1], np.round(values / 257))


def test_what_is_transparent_is_white(tmp_path):
  pixels = np.zeros((1, 3, 4), np.uint8)
  pixels[0, :, 3] = [0, 255, 51]
  PIL.Image.fromarray(pixels).save(tmp_path / 'x.png')
  image = np.asarray(read_image(tmp_path / 'x.png'))
  np.testing.assert_array_equal(image[0, :, 0], [255, 0, 204])


def test_photographs_are_upright(tmp_path, colours):
  exif = PIL.Image.Exif()
  exif[0x0112] = 6  # The camera was turned by a quarter.
  path = tmp_path / 'x.png'
  PIL.Image.fromarray(colours).save(path, exif=exif)
  expected = np.rot90(colours, -1)
  np.testing.assert_array_equal(np.asarray(read_image(path)), expected)


def test_a_whole_image_is_squashed():
  image = PIL.Image.fromarray(np.full((8, 20, 3), 77, np.uint8))
  np.testing.assert_array_equal(squash(image, 5), np.full((5, 5, 3), 77))


def test_patches_of_images_are_at_most_so_many():
  assert [patch_side(side, 16) for side in (1, 16, 17, 28, 64, 96)] == [
    1,
    1,
    2,
    2,
    4,
    6,
  ]


@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.webp'])
@pytest.mark.parametrize('content', ['cut', 'text', 'empty'])
def test_damaged_images(tmp_path, colours, suffix, content):
  path = tmp_path / f'x{suffix}'
  PIL.Image.fromarray(colours).resize((64, 64)).save(path)
  whole = path.read_bytes()
  path.write_bytes(
    {'cut': whole[: len(whole) // 2], 'text': b'hello', 'empty': b''}[content]
  )
  assert 'is no image, or is damaged' in refuse(read_image, path)


# Sounds.


@pytest.mark.parametrize('suffix', ['.wav', '.flac', '.ogg', '.mp3'])
def test_sounds_of_every_kind(tmp_path, suffix):
  assert suffix in SOUND_EXTENSIONS
  path = tmp_path / f'x{suffix}'
  write_media(path, samples=sine(440, 0.5, 48_000)[None], sample_rate=48_000)
  assert read_header(path).sample_rate == 48_000
  assert read_header(path).short_side is None
  assert read_header(path).seconds == pytest.approx(0.5, abs=0.08)
  samples = decode_audio(path, 16_000)
  assert len(samples) == pytest.approx(8_000, abs=1_200)
  middle = samples[2_000:6_000]
  spectrum = np.abs(np.fft.rfft(middle))
  assert spectrum.argmax() * 4 == 440
  assert middle.std() == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


def test_a_cut_sound_is_named(tmp_path):
  path = tmp_path / 'x.wav'
  write_media(path, samples=sine(440, 0.5, 8_000)[None], sample_rate=8_000)
  path.write_bytes(path.read_bytes()[:-1000])
  assert 'cut short' in refuse(lambda path: decode_audio(path, 8_000), path)


def test_sixteen_bits_of_sound():
  samples = np.array([-1, -0.5, 0, 1 / 32_768, 0.25, 1], np.float32)
  codes = encode_int16(samples)
  assert codes.tolist() == [-32_768, -16_384, 0, 1, 8_192, 32_767]
  assert codes.dtype == np.int16
  back = decode_int16(codes)
  np.testing.assert_array_equal(back[:-1], samples[:-1])
  assert back[-1] == pytest.approx(1.0, abs=1 / 32_768)
  assert back.dtype == np.float32


def test_sounds_are_cut_and_padded_on_both_sides():
  samples = np.arange(1, 8)
  np.testing.assert_array_equal(centred(samples, 3), [3, 4, 5])
  np.testing.assert_array_equal(
    centred(samples, 10), [0, 1, 2, 3, 4, 5, 6, 7, 0, 0]
  )
  np.testing.assert_array_equal(centred(samples, 7), samples)


def test_patches_of_sounds_are_at_most_192():
  lengths = [1, 3072, 3073, 16_000, 160_000]
  assert [patch_samples(n) for n in lengths] == [16, 16, 32, 128, 1024]


# Videos.


def test_the_header_of_a_video(tmp_path):
  path = tmp_path / 'x.mp4'
  write_media(path, frames=grey_frames([50] * 10, 32, 48), frame_rate=10)
  header = read_header(path)
  assert header.short_side == 32 and header.sample_rate is None
  assert header.seconds == pytest.approx(1.0, abs=0.01)


def test_the_last_frame_stays():
  frames = np.arange(5)
  np.testing.assert_array_equal(clip(frames, 1, 3), [1, 2, 3])
  np.testing.assert_array_equal(clip(frames, 3, 4), [3, 4, 4, 4])


# Shapes.


def shape_of(path):
  return read_shape(path, 1024)


@pytest.mark.parametrize('suffix', ['.off', '.obj', '.ply', '.stl'])
def test_meshes_of_every_kind(tmp_path, suffix):
  path = tmp_path / f'x{suffix}'
  trimesh.creation.box((2, 4, 6)).export(path)
  points = shape_of(path)
  assert points.shape == (1024, 3) and points.dtype == np.float32
  np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-6)
  assert np.linalg.norm(points, axis=1).max() == pytest.approx(1.0)
  # All on the box: a side that is the same for many points.
  size = np.ptp(points, axis=0)
  np.testing.assert_allclose(size / size[0], [1, 2, 3], rtol=0.02)
  low, high = points.min(axis=0), points.max(axis=0)
  distance = np.minimum(points - low, high - points).min(axis=1)
  assert distance.max() < 1e-2
  np.testing.assert_array_equal(shape_of(path), points)


@pytest.fixture
def cloud():
  return rng().normal(size=(50, 3))


def write_points(path, points):
  if path.suffix == '.npy':
    np.save(path, points)
  elif path.suffix == '.ply':
    trimesh.PointCloud(points).export(path)
  else:
    delimiter = {'.xyz': ' ', '.pts': ';', '.txt': ','}[path.suffix]
    np.savetxt(path, points, delimiter=delimiter)


@pytest.mark.parametrize('suffix', ['.npy', '.xyz', '.pts', '.txt', '.ply'])
def test_points_of_every_kind(tmp_path, cloud, suffix):
  path = tmp_path / f'x{suffix}'
  # Normals or colours behind the coordinates are not read.
  more = suffix in ('.npy', '.xyz')
  write_points(path, np.column_stack([cloud, cloud]) if more else cloud)
  points = shape_of(path)
  expected = cloud - cloud.mean(axis=0)
  expected /= np.linalg.norm(expected, axis=1).max()
  np.testing.assert_allclose(
    np.sort(points, axis=0), np.sort(expected, axis=0), atol=1e-5
  )


def test_many_points_become_1024(tmp_path):
  np.save(tmp_path / 'x.npy', rng().normal(size=(5000, 3)))
  assert shape_of(tmp_path / 'x.npy').shape == (1024, 3)


@pytest.mark.parametrize(
  ('name', 'content'),
  [
    ('x.ply', b'ply\nformat ascii 1.0\nelement vertex 5\nend_header\n1\n'),
    ('x.stl', b'hello'),
    ('x.obj', b'hello'),
    ('x.off', b'hello'),
    ('x.off', b'OFF\n3 1 0\n0 0 0\n1 0 0\n2 0 0\n3 0 1 2\n'),
    ('x.xyz', b'1 2\n3 4\n'),
    ('x.xyz', b'1 2 nan\n3 4 5\n'),
    ('x.txt', b'one two three\n'),
    ('x.npy', b'hello'),
  ],
)
def test_damaged_shapes(tmp_path, name, content):
  path = tmp_path / name
  path.write_bytes(content)
  assert 'is no shape, or is damaged' in refuse(shape_of, path)


# Measurements.

NUMBERS = np.array([[1.5, -2.0], [3.0, 4.25], [5.0, 1e-3]])


@pytest.mark.parametrize(
  ('name', 'text'),
  [
    ('x.csv', '1.5,-2\n3,4.25\n5,1e-3\n'),
    ('x.csv', 'left,right\n1.5,-2\n3,4.25\n5,1e-3\n'),
    ('x.csv', 'Time,left,right\n0,1.5,-2\n1,3,4.25\n2,5,1e-3\n'),
    ('x.csv', '"left";"timestamp";"right"\n1.5;0;-2\n3;1;4.25\n5;2;1e-3\n'),
    ('x.csv', '\ufeff1.5 -2\r\n3 4.25\r\n5 1e-3\r\n'),
    ('x.tsv', '1.5\t-2\n3\t4.25\n5\t1e-3\n\n'),
  ],
)
def test_tables_of_every_kind(tmp_path, name, text):
  path = tmp_path / name
  path.write_text(text, encoding='utf-8')
  series = read_series(path)
  np.testing.assert_array_equal(series, NUMBERS)
  assert series.dtype == np.float64


def test_arrays_of_every_kind(tmp_path):
  assert {'.npy', '.npz'} < set(SERIES)
  np.save(tmp_path / 'x.npy', NUMBERS)
  np.savez(tmp_path / 'x.npz', any_name=NUMBERS)
  for name in ('x.npy', 'x.npz'):
    np.testing.assert_array_equal(read_series(tmp_path / name), NUMBERS)
  np.save(tmp_path / 'one.npy', NUMBERS[:, 0])
  np.testing.assert_array_equal(
    read_series(tmp_path / 'one.npy'), NUMBERS[:, :1]
  )


@pytest.mark.parametrize(
  ('name', 'content'),
  [
    ('x.csv', b''),
    ('x.csv', b'left,right\n'),
    ('x.csv', b'1,2\n3\n'),
    ('x.csv', b'1,2\n3,\n'),
    ('x.csv', b'1,2\n3,nan\n'),
    ('x.csv', b'\xff\xfe\x00'),
    ('x.npy', b'hello'),
    ('x.npz', b'PK\x03\x04 cut'),
  ],
)
def test_damaged_measurements(tmp_path, name, content):
  path = tmp_path / name
  path.write_bytes(content)
  assert 'cannot be read as measurements' in refuse(read_series, path)


def test_arrays_that_are_not_one_series(tmp_path):
  np.savez(tmp_path / 'two.npz', a=NUMBERS, b=NUMBERS)
  assert "['a', 'b'], not one" in refuse(read_series, tmp_path / 'two.npz')
  np.save(tmp_path / 'x.npy', NUMBERS[None])
  assert '(1, 3, 2)' in refuse(read_series, tmp_path / 'x.npy')


def line(length):
  """Channels that are lines of time show where each value came from."""
  times = np.arange(length, dtype=np.float32)
  return np.stack([times, 100 - 2 * times], axis=1)


def test_a_window_is_interpolated_and_ends_with_the_series():
  values, inside = window(line(10), start=2.5, speed=1.5, num_steps=6)
  times = 2.5 + 1.5 * np.arange(6)
  np.testing.assert_array_equal(inside, times <= 9)
  assert inside.sum() == 5
  np.testing.assert_allclose(values[:5, 0], times[:5], rtol=1e-6)
  np.testing.assert_allclose(values[:5, 1], 100 - 2 * times[:5], rtol=1e-6)
  np.testing.assert_array_equal(values[5], 0)
  assert values.dtype == np.float32


def test_windows_are_anywhere_and_of_any_speed():
  starts, speeds = [], []
  for seed in range(80):
    values, inside = augment_series(
      line(100),
      rng(seed),
      num_steps=50,
      max_speed_change=0.2,
      max_scale=0.0,
      noise=0.0,
    )
    assert inside.all()
    speed, start = np.polyfit(np.arange(50), values[:, 0], 1)
    starts.append(start)
    speeds.append(speed)
  assert 0.79 < min(speeds) < 0.85 and 1.15 < max(speeds) < 1.21
  assert -0.01 < min(starts) < 5 and max(starts) > 45


def test_channels_are_scaled_and_noise_is_added():
  ones = np.ones((200, 2), np.float32)
  options = dict(num_steps=100, max_speed_change=0.0)
  scaled, _ = augment_series(ones, rng(1), max_scale=0.5, noise=0.0, **options)
  assert (np.ptp(scaled, axis=0) == 0).all()
  assert scaled.min() >= 0.5 and scaled.max() <= 1.5
  assert scaled[0, 0] != scaled[0, 1]
  noisy, _ = augment_series(ones, rng(1), max_scale=0.0, noise=0.3, **options)
  assert (noisy - 1).std() == pytest.approx(0.3, rel=0.15)
  assert noisy.dtype == np.float32


# Texts.


def test_texts_are_read_without_marks_and_space_around(tmp_path):
  path = tmp_path / 'x.txt'
  path.write_bytes(b'\xef\xbb\xbf  gr\xc3\xbcn\r\n')
  assert read_text(path) == 'grün'.encode()


@pytest.mark.parametrize(
  ('content', 'why'), [(b' \n', 'is empty'), (b'gr\xfcn', 'is no UTF-8')]
)
def test_damaged_texts(tmp_path, content, why):
  path = tmp_path / 'x.txt'
  path.write_bytes(content)
  assert why in refuse(read_text, path)


def test_lines_of_a_table(tmp_path):
  path = tmp_path / 'train.tsv'
  path.write_text('good\tfine\tthing\n\nbad\tpoor\n')
  lines = read_lines(path)
  assert [(each.path.name, each.label) for each in lines] == [
    ('1', 'good'),
    ('3', 'bad'),
  ]
  path.write_text('good\tfine\nbad poor\n')
  assert 'line 2: no tab' in refuse(read_lines, path)
  path.write_text('')
  assert 'no lines' in refuse(read_lines, path)
  with pytest.raises(FileNotFoundError, match=r'train\.tsv and test\.tsv'):
    read_lines(pathlib.Path(tmp_path / 'test.tsv'))
