"""Files of people come back as the held-out examples that they are made of."""

import re

import numpy as np
import PIL.Image
import pytest
import scipy.signal
import trimesh

from experiments.datasets import audioset as audioset_module
from experiments.datasets.audioset import audioset
from experiments.datasets.audioset_lists import Segment
from experiments.datasets.declaration import declaration_languages
from experiments.datasets.digits import digits
from experiments.datasets.embedded_builder import FILES
from experiments.datasets.furniture import furniture
from experiments.datasets.imagenet import eval_example, imagenet
from experiments.datasets.modelnet40 import make_example, modelnet40
from experiments.datasets.tones import tones
from experiments.datasets.watch import watch
from experiments.files.windows import window_starts
from experiments.modalities.points.augmentation import to_unit_cube
from experiments.modalities.sound.augmentation import decode_mu_law
from tests.media_files import grey_frames, sine, write_media


def refuse(spec, path):
  """Returns what is said of a file; it is named."""
  with pytest.raises(ValueError, match=re.escape(str(path))) as error:
    spec.files.read(path)
  return str(error.value)


def check_example(spec, example):
  """The arrays of an example, without its label."""
  expected = {name: x for name, x in spec.example.items() if name != 'label'}
  assert set(example) == set(expected)
  for name, array in expected.items():
    assert example[name].shape == array.shape, name
    assert example[name].dtype == array.dtype, name


# Windows.


@pytest.mark.parametrize(
  ('length', 'size', 'hop', 'starts'),
  [
    (5, 8, 8, [0]),
    (8, 8, 8, [0]),
    (16, 8, 8, [0, 8]),
    (17, 8, 8, [0, 8, 9]),
    (20, 8, 4, [0, 4, 8, 12]),
    (21, 8, 4, [0, 4, 8, 12, 13]),
  ],
)
def test_windows_are_a_hop_apart_up_to_the_end(length, size, hop, starts):
  assert window_starts(length, size, hop) == starts


def test_of_a_long_recording_64_windows_are_spread_evenly():
  starts = window_starts(1000, 1, 1)
  assert len(starts) == 64
  assert (starts[0], starts[-1]) == (0, 999)
  assert set(np.diff(starts)) <= {15, 16}


# Digits.


@pytest.fixture(scope='module')
def digit_data(tmp_path_factory):
  spec = digits(
    str(tmp_path_factory.mktemp('digits')),
    max_rotation=0.0,
    max_shear=0.0,
    max_scale=0.0,
    max_shift=0.0,
  )
  return spec, spec.load()


def test_a_held_out_digit(digit_data, tmp_path):
  spec, data = digit_data
  raw = data.evaluation[11]
  path = tmp_path / 'x.png'
  PIL.Image.fromarray(raw['image']).save(path)
  (example,) = spec.files.read(path)
  check_example(spec, example)
  expected = data.prepare(raw)
  np.testing.assert_array_equal(example['image'], expected['image'])
  pixels = spec.view(example)['image'].pixels
  np.testing.assert_array_equal(pixels[..., 0], raw['image'])


def test_a_digit_on_paper_is_put_where_digits_are(digit_data, tmp_path):
  spec, data = digit_data
  raw = data.evaluation[11]
  large = PIL.Image.fromarray(raw['image']).resize((140, 140))
  paper = 255 - np.pad(np.asarray(large), ((20, 200), (150, 10)))
  path = tmp_path / 'x.jpg'
  PIL.Image.fromarray(paper).convert('RGB').save(path)
  (example,) = spec.files.read(path)
  expected = data.prepare(raw)['image']
  similarity = np.corrcoef(example['image'].ravel(), expected.ravel())[0, 1]
  assert similarity > 0.75
  PIL.Image.fromarray(np.full((50, 50), 255, np.uint8)).save(path)
  assert 'shows nothing' in refuse(spec, path)


# Tones.


@pytest.fixture(scope='module')
def sounds():
  """Syllables `[3, 4096]`, each in a tone of its own."""
  with np.load(FILES / 'tones.npz', allow_pickle=False) as arrays:
    return decode_mu_law(arrays['audio_mulaw'][[5, 300, 700]])


@pytest.fixture(scope='module')
def tone_data(tmp_path_factory):
  spec = tones(
    str(tmp_path_factory.mktemp('tones')),
    max_shift=0.0,
    max_speed_change=0.0,
    filter_decibels=0.0,
    rotate_phase=False,
    max_gain_decibels=0.0,
    max_noise=0.0,
  )
  return spec, spec.load()


@pytest.mark.parametrize('suffix', ['.wav', '.flac'])
def test_a_held_out_syllable(tone_data, tmp_path, suffix):
  spec, data = tone_data
  raw = data.evaluation[7]
  path = tmp_path / f'x{suffix}'
  write_media(path, samples=0.5 * raw['audio'][None], sample_rate=8000)
  (example,) = spec.files.read(path)
  check_example(spec, example)
  expected = data.prepare(raw)
  np.testing.assert_allclose(example['audio'], expected['audio'], atol=1e-3)
  view = spec.view(expected)['audio']
  np.testing.assert_allclose(view.samples, raw['audio'], atol=1e-6)
  assert view.rate == 8000


def test_a_syllable_is_found_in_a_long_recording(tone_data, sounds, tmp_path):
  spec, _ = tone_data
  loud = scipy.signal.resample_poly(sounds[0], 441, 80)
  soft = scipy.signal.resample_poly(sounds[1], 441, 80)
  silence = 1e-4 * np.random.default_rng(0).standard_normal(30_000)
  samples = np.concatenate([silence, 0.1 * soft, silence, 0.4 * loud, silence])
  stereo = np.stack([samples, 0.5 * samples]).astype(np.float32)
  path = tmp_path / 'x.wav'
  write_media(path, samples=stereo, sample_rate=44_100)
  (example,) = spec.files.read(path)
  check_example(spec, example)
  found = example['audio'] * 0.17
  assert np.abs(found).max() == pytest.approx(1.0, abs=1e-6)
  energy = np.square(found)
  assert np.arange(4096) @ energy / energy.sum() == pytest.approx(1785, abs=60)
  match = scipy.signal.correlate(found, sounds[0])
  similarity = match.max() / np.linalg.norm(found) / np.linalg.norm(sounds[0])
  assert similarity > 0.95


def test_a_short_recording_has_silence_after_it(tone_data, tmp_path):
  spec, _ = tone_data
  path = tmp_path / 'x.wav'
  write_media(path, samples=sine(200, 0.25, 8000)[None], sample_rate=8000)
  (example,) = spec.files.read(path)
  expected = sine(200, 0.25, 8000) * 2 / 0.17
  np.testing.assert_allclose(example['audio'][:2000], expected, atol=2e-3)
  np.testing.assert_array_equal(example['audio'][2000:], 0.0)


def test_recordings_without_a_syllable(tone_data, tmp_path):
  spec, _ = tone_data
  path = tmp_path / 'silent.wav'
  silence = np.zeros((1, 9000), np.float32)
  write_media(path, samples=silence, sample_rate=8000)
  assert 'is silent' in refuse(spec, path)
  path = tmp_path / 'mute.mp4'
  write_media(path, frames=grey_frames([9] * 9))
  assert 'no sound' in refuse(spec, path)
  path = tmp_path / 'text.wav'
  path.write_text('hello')
  assert 'cannot be decoded' in refuse(spec, path)


# Furniture.


@pytest.fixture(scope='module')
def furniture_data(tmp_path_factory):
  spec = furniture(
    str(tmp_path_factory.mktemp('furniture')),
    num_points=1024,
    max_point_scale=0.0,
    max_rotation=0.0,
    max_stretch=0.0,
    max_jitter=0.0,
    mirror_probability=0.0,
    mix_probability=0.0,
  )
  return spec, spec.load()


@pytest.mark.parametrize('suffix', ['.npy', '.ply', '.off', '.xyz'])
def test_a_held_out_model(furniture_data, tmp_path, suffix):
  spec, data = furniture_data
  raw = data.evaluation[3]
  # In other units, in another place.
  points = raw['points'] * 0.25 + [100.0, -20.0, 3.0]
  path = tmp_path / f'x{suffix}'
  if suffix == '.npy':
    np.save(path, points)
  elif suffix == '.ply':
    trimesh.PointCloud(points).export(path)
  else:
    header = 'OFF\n1024 0 0' if suffix == '.off' else ''
    np.savetxt(path, points, header=header, comments='')
  (example,) = spec.files.read(path)
  check_example(spec, example)
  expected = data.prepare(raw)['points']
  order, expected_order = (
    np.lexsort(np.round(x, 3).T) for x in (example['points'], expected)
  )
  np.testing.assert_allclose(
    example['points'][order], expected[expected_order], atol=2e-5
  )
  np.testing.assert_array_equal(
    spec.view(example)['points'].coordinates, example['points']
  )


def test_points_of_a_mesh_stand_as_it_does(furniture_data, tmp_path):
  spec, _ = furniture_data
  path = tmp_path / 'x.stl'
  trimesh.creation.box((1, 3, 2)).export(path)
  (example,) = spec.files.read(path)
  check_example(spec, example)
  assert np.abs(example['points']).max() == pytest.approx(1.0)
  size = np.ptp(example['points'], axis=0)
  np.testing.assert_allclose(size / size[0], [1, 3, 2], rtol=0.03)


def test_a_model_of_few_points_shows_some_again(furniture_data, tmp_path):
  spec, _ = furniture_data
  points = np.random.default_rng(0).standard_normal((100, 3))
  np.save(tmp_path / 'x.npy', points)
  (example,) = spec.files.read(tmp_path / 'x.npy')
  check_example(spec, example)
  assert len(np.unique(example['points'], axis=0)) == 100
  np.save(tmp_path / 'flat.npy', points[:, :2])
  assert '(100, 2), not [points, 3]' in refuse(spec, tmp_path / 'flat.npy')


# ModelNet40.


def test_a_model_of_modelnet(tmp_path):
  spec = modelnet40(None, num_points=2000, max_point_scale=0.01)
  path = tmp_path / 'chair_0890.off'
  trimesh.creation.cone(1.0, 2.0).export(path)
  raw = make_example(path.read_bytes(), f'ModelNet40/chair/test/{path.name}')
  (example,) = spec.files.read(path)
  check_example(spec, example)
  np.testing.assert_allclose(
    example['points'], to_unit_cube(raw['points'][:2000]), atol=1e-5
  )
  assert spec.class_names[8] == 'chair'


# Watch.


@pytest.fixture(scope='module')
def watch_data(tmp_path_factory):
  spec = watch(
    str(tmp_path_factory.mktemp('watch')),
    num_steps=100,
    hop=50,
    max_shift=0,
    max_speed=0.0,
    max_rotation=0.0,
    max_scale=0.0,
    noise=0.0,
    mirror_probability=0.0,
  )
  return spec, spec.load()


@pytest.mark.parametrize('suffix', ['.csv', '.npz'])
def test_the_windows_of_a_held_out_recording(watch_data, tmp_path, suffix):
  spec, data = watch_data
  motion = data.evaluation[0]['motion']
  path = tmp_path / f'x{suffix}'
  if suffix == '.csv':
    table = np.column_stack([np.arange(len(motion)) / 50, motion])
    header = 'time,ax,ay,az,gx,gy,gz'
    np.savetxt(path, table, delimiter=',', header=header, comments='')
  else:
    np.savez(path, motion)
  examples = spec.files.read(path)
  starts = range(0, len(motion) - 99, 50)
  assert len(starts) <= len(examples) <= len(starts) + 1
  for i, start in enumerate(starts):
    raw = data.evaluation[i]
    assert raw['start'] == start
    check_example(spec, examples[i])
    np.testing.assert_allclose(
      examples[i]['motion'], data.prepare(raw)['motion'], atol=1e-6
    )
  view = spec.view(examples[-1])['motion']
  np.testing.assert_allclose(view.values, motion[-100:], atol=1e-5)
  assert view.rate == 50.0


def test_recordings_of_other_sensors(watch_data, tmp_path):
  spec, _ = watch_data
  np.save(tmp_path / 'x.npy', np.zeros((200, 3)))
  said = refuse(spec, tmp_path / 'x.npy')
  assert 'has 3 columns; expected are 6: acceleration x, y, z in g' in said
  np.save(tmp_path / 'x.npy', np.zeros((99, 6)))
  assert 'has 99 steps, and the model looks at 100' in refuse(
    spec, tmp_path / 'x.npy'
  )
  (tmp_path / 'x.csv').write_text('ax,ay\none,two\n')
  assert 'cannot be read as measurements' in refuse(spec, tmp_path / 'x.csv')


# ImageNet.


@pytest.fixture(scope='module')
def photographs():
  return imagenet(
    None,
    image_size=32,
    randaugment_layers=0,
    randaugment_magnitude=0,
    mixup_alpha=0.0,
    cutmix=False,
  )


def test_a_photograph(photographs, tmp_path):
  x, y = np.meshgrid(np.arange(60), np.arange(40))
  pixels = np.stack([4 * x, 6 * y, 255 - 4 * x], axis=-1).astype(np.uint8)
  path = tmp_path / 'x.png'
  PIL.Image.fromarray(pixels).save(path)
  (example,) = photographs.files.read(path)
  check_example(photographs, example)
  stored = {'image': path.read_bytes(), 'label': 3, 'file_name': b'x'}
  expected = eval_example(stored, image_size=32)
  assert expected['label'] == 3
  np.testing.assert_allclose(example['image'], expected['image'], atol=1e-5)
  # The view has the colours of the middle.
  middle = photographs.view(example)['image'].pixels[16, 16]
  np.testing.assert_allclose(middle, pixels[20, 30], atol=6)
  grey = tmp_path / 'grey.jpg'
  PIL.Image.fromarray(pixels[..., 0]).save(grey)
  check_example(photographs, photographs.files.read(grey)[0])
  path.write_bytes(b'no image')
  assert 'is no image' in refuse(photographs, path)


def test_classes_of_imagenet_have_names(photographs):
  assert len(photographs.class_names) == 1000
  assert photographs.class_names[0] == 'n01440764'
  assert photographs.class_names[999] == 'n15075141'


# AudioSet.


def recordings(data_dir, **options):
  return audioset(
    str(data_dir),
    train_lists=['balanced_train'],
    num_frames=16,
    image_size=16,
    evaluation_clips=3,
    max_brightness=0.0,
    max_contrast=0.0,
    max_saturation=0.0,
    max_hue=0.0,
    **options,
  )


@pytest.mark.parametrize(
  ('modalities', 'name'),
  [(('audio',), 'x.wav'), (('audio', 'video'), 'x.mkv')],
)
def test_the_clips_of_a_recording(monkeypatch, tmp_path, modalities, name):
  monkeypatch.setattr('experiments.datasets.audioset.SHORT_SIDE', 32)
  monkeypatch.setattr('experiments.datasets.audioset_files.SHORT_SIDE', 32)
  path, frames = tmp_path / name, None
  if 'video' in modalities:
    frames = grey_frames(np.arange(45) * 5, 32, 48)
  write_media(path, frames=frames, samples=sine(440, 1.8, 48_000)[None])
  segment = Segment('x', path, 0.0, 1.8, [2])
  _, raw = audioset_module.Audioset.read(segment)
  monkeypatch.setattr(audioset_module, '_open', lambda *_: [raw])
  spec = recordings(tmp_path, modalities=modalities)
  data = spec.load()
  examples = spec.files.read(path)
  assert len(examples) == len(data.evaluation) == 3
  for i, example in enumerate(examples):
    check_example(spec, example)
    expected = data.prepare(data.evaluation[i])
    for modality in modalities:
      np.testing.assert_allclose(
        example[modality], expected[modality], atol=0.02
      )
  assert set(spec.view(examples[0])) == set(modalities)
  sound = spec.view(examples[0])['audio']
  np.testing.assert_array_equal(sound.samples, examples[0]['audio'])
  assert sound.rate == 48_000


def test_recordings_that_are_too_short(tmp_path):
  spec = recordings(tmp_path, modalities=['audio'])
  path = tmp_path / 'x.wav'
  write_media(path, samples=sine(440, 0.6, 48_000)[None])
  assert 'has 0.6 s; a clip has 0.64' in refuse(spec, path)


def test_sounds_have_names_where_their_list_is(tmp_path):
  assert recordings(tmp_path, modalities=['audio']).class_names == ()
  folder = tmp_path / 'downloads' / 'manual' / 'audioset'
  folder.mkdir(parents=True)
  lines = [f'{i},/m/{i},"Sound {i}, loud"' for i in range(527)]
  text = '\n'.join(['index,mid,display_name', *lines])
  (folder / 'class_labels_indices.csv').write_text(text)
  names = recordings(tmp_path, modalities=['audio']).class_names
  assert names[526] == 'Sound 526, loud'


# Languages.


def test_texts_and_their_parts(tmp_path):
  spec = declaration_languages(str(tmp_path), length=64, min_length=16)
  data = spec.load()
  raw = min(
    (data.evaluation[i] for i in range(len(data.evaluation))),
    key=lambda each: abs(len(each['text']) - 40),
  )
  expected = data.prepare(raw)
  path = tmp_path / 'x.txt'
  path.write_bytes(b'\xef\xbb\xbf ' + raw['text'] + b'\n')
  for examples in (
    spec.files.read(path),
    spec.files.from_text(raw['text']),
  ):
    (example,) = examples
    check_example(spec, example)
    for name, array in example.items():
      np.testing.assert_array_equal(array, expected[name])
  assert spec.view(expected)['text'].data == raw['text']
  long = 'Größe '.encode() * 50
  parts = spec.files.from_text(long)
  shown = [spec.view(part)['text'].data for part in parts]
  assert b''.join(shown) == long.strip()
  assert all(part['mask'].sum() <= 64 for part in parts)
  assert len(spec.class_names) == 16
  assert spec.class_names[raw['language']]


def test_texts_that_are_none(tmp_path):
  spec = declaration_languages(str(tmp_path), length=64, min_length=16)
  path = tmp_path / 'x.txt'
  path.write_bytes(b'gr\xfcn')
  assert 'is no UTF-8' in refuse(spec, path)
  with pytest.raises(ValueError, match='The text is empty'):
    spec.files.from_text(b' \n')
