"""ModelNet40 from an archive like the real one, small."""

import zipfile

import numpy as np
import pytest

from experiments.datasets import modelnet40 as module
from experiments.datasets.modelnet40 import modelnet40

OPTIONS = {'num_points': 64, 'max_point_scale': 0.01}
# A box of 2 x 4 x 6 without lid: a square of each side.
BOX = """8 5 0
-1 -2 -3
1 -2 -3
1 2 -3
-1 2 -3
-1 -2 3
1 -2 3
1 2 3
-1 2 3
4 0 1 2 3
4 0 1 5 4
4 1 2 6 5
4 2 3 7 6
4 3 0 4 7
"""


def write_archive(data_dir, text='OFF' + BOX):
  path = data_dir / 'downloads' / 'manual' / 'ModelNet40.zip'
  path.parent.mkdir(parents=True, exist_ok=True)
  with zipfile.ZipFile(path, 'w') as archive:
    for name in (
      'chair/train/chair_0001',
      'xbox/train/xbox_0001',
      'xbox/test/xbox_0104',
    ):
      archive.writestr(f'ModelNet40/{name}.off', text)
    archive.writestr('__MACOSX/ModelNet40/chair/train/._chair_0001.off', 'x')


@pytest.fixture
def small(monkeypatch):
  monkeypatch.setattr(module, '_MODELS', {'train': 2, 'test': 1})


def test_prepared_from_the_archive(tmp_path, small):
  write_archive(tmp_path)
  spec = modelnet40(str(tmp_path), **OPTIONS)
  assert spec.num_classes == 40
  dataset = spec.load()
  assert (len(dataset.train), len(dataset.evaluation)) == (2, 1)
  stored = dataset.evaluation[0]
  assert stored['points'].shape == (2048, 3)
  # Points of the box, by the share of each side: 8 of 88 are the bottom.
  sides = np.abs(stored['points']) - [1.0, 2.0, 3.0]
  np.testing.assert_allclose(np.abs(sides).min(axis=1), 0.0, atol=1e-6)
  bottom = (stored['points'][:, 2] == -3.0).mean()
  assert abs(bottom - 8 / 88) < 5 * np.sqrt(8 / 88 / 2048)
  assert not (stored['points'][:, 2] == 3.0).any()
  example = dataset.prepare(stored)
  assert example['label'] == module.CLASSES.index('xbox') == 39
  points = example['points']
  assert points.shape == (64, 3) and points.dtype == np.float32
  np.testing.assert_allclose(points.mean(axis=0), 0.0, atol=1e-6)
  assert np.abs(points).max() == pytest.approx(1.0)

  # Again, from what was prepared, without the archive.
  (tmp_path / 'downloads' / 'manual' / 'ModelNet40.zip').unlink()
  again = modelnet40(str(tmp_path), **OPTIONS).load()
  np.testing.assert_array_equal(again.evaluation[0]['points'], stored['points'])


def test_training_takes_another_subset_each_time(tmp_path, small):
  write_archive(tmp_path)
  dataset = modelnet40(str(tmp_path), **OPTIONS).load()
  stored = dataset.train[0]
  one, same, other = (
    dataset.augment(stored, np.random.default_rng(seed))['points']
    for seed in (0, 0, 1)
  )
  np.testing.assert_array_equal(one, same)
  assert not np.allclose(one, other)


def test_without_the_archive_it_says_where_to_get_it(tmp_path):
  with pytest.raises(FileNotFoundError, match=r'ModelNet40\.zip') as error:
    modelnet40(str(tmp_path), **OPTIONS).load()
  assert str(tmp_path / 'downloads' / 'manual') in str(error.value)
  assert 'furniture.py' in str(error.value)


def test_an_archive_that_lacks_models(tmp_path):
  write_archive(tmp_path)
  with pytest.raises(ValueError, match=r"'train': 9843.*has .*'train': 2"):
    modelnet40(str(tmp_path), **OPTIONS).load()
  # Nothing half prepared is left to be taken for the data set.
  with pytest.raises(ValueError, match='Download it again'):
    modelnet40(str(tmp_path), **OPTIONS).load()


def test_a_broken_model_is_named(tmp_path, small):
  write_archive(tmp_path, 'OFF\n3 1 0\n0 0 0\n')
  with pytest.raises(ValueError, match=r'chair_0001\.off'):
    modelnet40(str(tmp_path), **OPTIONS).load()


def test_more_points_than_a_model_has():
  with pytest.raises(ValueError, match='from 1 to 2048'):
    modelnet40(None, num_points=4096, max_point_scale=0.0)


def test_a_broken_archive(tmp_path):
  write_archive(tmp_path)
  path = tmp_path / 'downloads' / 'manual' / 'ModelNet40.zip'
  path.write_bytes(path.read_bytes()[:-30])
  with pytest.raises(ValueError, match='is broken'):
    modelnet40(str(tmp_path), **OPTIONS).load()
