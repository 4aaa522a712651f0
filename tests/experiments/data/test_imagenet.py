"""Reading ImageNet from TFDS, on a tiny data set with the same features."""

import functools
import pathlib
import re
import socket
import sys
import time

import grain
import numpy as np
import pytest
import tensorflow_datasets as tfds

from experiments.datasets import imagenet
from experiments.modalities.images import augmentation

PHOTOGRAPHS = {
  path.name: path.read_bytes()
  for path in sorted((pathlib.Path(__file__).parent / 'photographs').glob('*'))
  if path.suffix == '.jpg'
}
LABELS = {'china.jpg': 0, 'flower.jpg': 1}


class TinyImagenet(tfds.core.GeneratorBasedBuilder):
  """Two photographs, many times, with the features of imagenet2012."""

  VERSION = tfds.core.Version('5.1.0')

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      features=tfds.features.FeaturesDict(
        {
          'image': tfds.features.Image(encoding_format='jpeg'),
          'label': tfds.features.ClassLabel(names=['temple', 'flower']),
          'file_name': tfds.features.Text(),
        }
      ),
    )

  def _split_generators(self, dl_manager):
    return {
      'train': self._generate_examples(6),
      'validation': self._generate_examples(1),
    }

  def _generate_examples(self, copies: int):
    for copy in range(copies):
      for name, encoded in PHOTOGRAPHS.items():
        yield (
          f'{copy}/{name}',
          {
            'image': encoded,
            'label': LABELS[name],
            'file_name': name,
          },
        )


@pytest.fixture(scope='module')
def prepared(tmp_path_factory) -> pathlib.Path:
  data_dir = tmp_path_factory.mktemp('tfds')
  TinyImagenet(
    data_dir=data_dir, file_format='array_record'
  ).download_and_prepare()
  return data_dir


@pytest.fixture
def example() -> dict:
  return {
    'image': PHOTOGRAPHS['china.jpg'],
    'label': 7,
    'file_name': b'n01440764_10026.JPEG',
  }


class TestOpenPrepared:
  def test_hands_over_the_encoded_bytes(self, prepared):
    source = imagenet.open_prepared(TinyImagenet(data_dir=prepared), 'train')
    assert len(source) == 12
    names = []
    for index in range(12):
      example = source[index]
      name = example['file_name'].decode()
      names.append(name)
      assert set(example) == {'image', 'label', 'file_name'}
      assert example['image'] == PHOTOGRAPHS[name]
      assert example['label'] == LABELS[name]
    assert names.count('china.jpg') == names.count('flower.jpg') == 6

  def test_without_tensorflow(self, prepared):
    imagenet.open_prepared(TinyImagenet(data_dir=prepared), 'validation')[0]
    assert 'tensorflow' not in sys.modules

  def test_makes_training_examples_in_grain(self, prepared):
    source = imagenet.open_prepared(TinyImagenet(data_dir=prepared), 'train')
    augment = functools.partial(imagenet.train_example, image_size=64)

    def run(seed):
      dataset = grain.MapDataset.source(source).seed(seed).shuffle()
      return list(dataset.random_map(augment).batch(4))

    first, again, other = run(1), run(1), run(2)
    assert len(first) == 3
    for a, b, c in zip(first, again, other, strict=True):
      assert a['image'].shape == (4, 64, 64, 3)
      assert a['image'].dtype == np.float32
      assert a['label'].shape == (4,) and a['label'].dtype == np.int32
      np.testing.assert_array_equal(a['image'], b['image'])
      assert not np.array_equal(a['image'], c['image'])

  def _edit_info(self, prepared, tmp_path, before, after):
    """Copies the prepared data set, with a change in its dataset_info."""
    directory = tmp_path / 'tiny_imagenet' / '5.1.0'
    directory.mkdir(parents=True)
    for path in (prepared / 'tiny_imagenet' / '5.1.0').iterdir():
      (directory / path.name).write_bytes(path.read_bytes())
    info = directory / 'dataset_info.json'
    text = info.read_text()
    assert before in text
    info.write_text(text.replace(before, after))
    return directory

  def test_other_format_names_the_conversion(self, prepared, tmp_path):
    directory = self._edit_info(
      prepared, tmp_path, '"array_record"', '"tfrecord"'
    )
    with pytest.raises(FileNotFoundError) as raised:
      imagenet.open_prepared(TinyImagenet(data_dir=tmp_path), 'train')
    message = str(raised.value)
    assert 'as tfrecord, which needs TensorFlow to read' in message
    assert (
      f'tfds convert_format --dataset_version_dir={directory}'
      ' --out_file_format=array_record'
    ) in message
    assert 'experiments/configs/digits.py' in message

  def test_reads_a_converted_data_set(self, prepared, tmp_path):
    """`tfds convert_format` leaves tfrecord the first of two formats."""
    directory = self._edit_info(
      prepared,
      tmp_path,
      '"fileFormat": "array_record"',
      '"fileFormat": "tfrecord", "alternativeFileFormats": ["array_record"]',
    )
    builder = tfds.builder_from_directory(directory)
    source = imagenet.open_prepared(builder, 'train')
    assert len(source) == 12 and source[0]['image'][:2] == b'\xff\xd8'

  def test_missing_file(self, prepared, tmp_path):
    directory = self._edit_info(prepared, tmp_path, '{', '{')
    (missing,) = directory.glob('*-train.array_record-*')
    missing.unlink()
    builder = TinyImagenet(data_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match='1 of the 1 files') as raised:
      imagenet.open_prepared(builder, 'train')
    assert missing.name in str(raised.value)
    assert len(imagenet.open_prepared(builder, 'validation')) == 2

  def test_missing_split(self, prepared):
    builder = TinyImagenet(data_dir=prepared)
    with pytest.raises(FileNotFoundError, match="no split 'test'"):
      imagenet.open_prepared(builder, 'test')


class TestSource:
  @pytest.fixture(autouse=True)
  def _no_network(self, monkeypatch):
    def refuse(*args):
      raise AssertionError(f'tried to connect to {args[1:]}')

    monkeypatch.setattr(socket.socket, 'connect', refuse)

  @pytest.mark.parametrize('split', ['train', 'validation'])
  def test_not_prepared(self, tmp_path, split):
    start = time.monotonic()
    with pytest.raises(FileNotFoundError) as raised:
      imagenet.source(split, str(tmp_path))
    assert time.monotonic() - start < 60
    message = str(raised.value)
    manual = tmp_path / 'downloads' / 'manual'
    for part in (
      'imagenet2012/5.1.0 is not prepared',
      f'{tmp_path}/imagenet2012/5.1.0',
      f'ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar into {manual}',
      'pip install "perceiver-haiku[prepare]"',
      'tfds build imagenet2012 --file_format=array_record '
      f'--data_dir={tmp_path} --manual_dir={manual}',
      'experiments/configs/digits.py trains without any download',
    ):
      assert part in message
    assert not list(tmp_path.iterdir())

  def test_default_directory(self, tmp_path, monkeypatch):
    monkeypatch.setattr(
      tfds.core.constants, 'DATA_DIR', str(tmp_path / 'default')
    )
    with pytest.raises(FileNotFoundError):
      imagenet.source('train', None)

  def test_unknown_split(self, tmp_path):
    with pytest.raises(ValueError, match=re.escape("('train', 'validation')")):
      imagenet.source('test', str(tmp_path))


class TestTrainExample:
  def test_seed_decides(self, example):
    def run(seed):
      return imagenet.train_example(example, np.random.default_rng(seed))

    first = run(0)
    assert first['image'].shape == (224, 224, 3)
    assert first['image'].dtype == np.float32
    assert first['label'].dtype == np.int32 and first['label'] == 7
    np.testing.assert_array_equal(first['image'], run(0)['image'])
    assert not np.array_equal(first['image'], run(1)['image'])

  def test_is_the_sum_of_its_parts(self, example):
    """Without RandAugment: a crop of the decoded image, perhaps mirrored."""
    image = augmentation.decode(example['image'], 'x')
    mirrored = 0
    for seed in range(20):
      result = imagenet.train_example(
        example, np.random.default_rng(seed), randaugment_layers=0
      )
      rng = np.random.default_rng(seed)
      top, left, height, width = augmentation.sample_crop(214, 320, rng)
      crop = image[top : top + height, left : left + width]
      expected = augmentation.normalise(augmentation.resize(crop, 224))
      straight = np.array_equal(result['image'], expected)
      flipped = augmentation.normalise(
        augmentation.resize(np.ascontiguousarray(crop[:, ::-1]), 224)
      )
      assert straight or np.array_equal(result['image'], flipped)
      mirrored += not straight
    assert 4 < mirrored < 16

  def test_small_results_decode_at_reduced_scale(self, example):
    """The same picture, whether or not the decoder reduces it."""
    seed = 3  # a big crop
    small = imagenet.train_example(
      example,
      np.random.default_rng(seed),
      image_size=32,
      randaugment_layers=0,
    )
    full = imagenet.train_example(
      example, np.random.default_rng(seed), randaugment_layers=0
    )
    pooled = full['image'].reshape(32, 7, 32, 7, 3).mean(axis=(1, 3))
    correlation = np.corrcoef(small['image'].ravel(), pooled.ravel())[0, 1]
    assert correlation > 0.97

  @pytest.mark.parametrize('encoded', [b'', b'no image', None])
  def test_undecodable_names_the_record(self, example, encoded):
    if encoded is None:
      encoded = example['image'][:9000]
    with pytest.raises(ValueError, match=r'n01440764_10026\.JPEG'):
      imagenet.train_example(
        {**example, 'image': encoded}, np.random.default_rng(0)
      )


class TestEvalExample:
  def test_takes_the_centre(self, example):
    image = augmentation.decode(example['image'], 'x')
    result = imagenet.eval_example(example)
    # 187 = int(7/8 * 214), the crop starts at row 14 and column 67.
    crop = image[14 : 14 + 187, 67 : 67 + 187]
    expected = augmentation.normalise(augmentation.resize(crop, 224))
    np.testing.assert_array_equal(result['image'], expected)
    assert result['image'].dtype == np.float32
    assert result['label'].dtype == np.int32 and result['label'] == 7

  def test_size(self, example):
    result = imagenet.eval_example(example, image_size=64)
    assert result['image'].shape == (64, 64, 3)

  def test_undecodable_names_the_record(self, example):
    with pytest.raises(ValueError, match=r'n01440764_10026\.JPEG'):
      imagenet.eval_example({**example, 'image': b'no image'})
