"""Files are read in a helper as they are here, and hostile ones are refused."""

import ast
import pathlib
import sys
import time
import zipfile

import numpy as np
import PIL.Image
import pytest

from experiments import predict
from experiments.files.listing import LabelledFile, read_files
from experiments.files.media import (
  decode_audio,
  decode_frames,
  has_video,
  read_header,
)
from experiments.host.helper import Limits
from experiments.modalities.images.files import read_image
from experiments.modalities.points.files import read_shape
from experiments.modalities.series.files import read_measurements
from experiments.runs import reading_apart as reading
from experiments.runs import untrusted
from experiments.runs.reading_apart import CHOSEN, SERVED, reading_apart
from tests.media_files import write_media

CASES = pathlib.Path(__file__).parent / 'data' / 'photographs'
LINUX = pytest.mark.skipif(sys.platform != 'linux', reason='Limits of Linux.')


@pytest.fixture(scope='module')
def apart():
  with reading_apart(SERVED):
    yield


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('files')
  rng = np.random.default_rng(0)
  write_media(
    folder / 'film.mp4',
    frames=rng.integers(0, 256, (10, 32, 48, 3), dtype=np.uint8),
    samples=rng.uniform(-0.5, 0.5, (1, 19_200)).astype(np.float32),
  )
  (folder / 'shape.off').write_text(
    'OFF 4 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n3 0 1 2\n3 0 2 3\n'
  )
  np.savez(folder / 'series.npz', rng.normal(size=(20, 3)))
  (folder / 'named.csv').write_text('x,y\n1,2\n3,4\n')
  return folder


def read_all(folder):
  film = folder / 'film.mp4'
  return {
    'image': np.asarray(read_image(CASES / 'flower.jpg')),
    'small image': np.asarray(read_image(CASES / 'flower.jpg', 50)),
    'header': read_header(film),
    'has video': has_video(film),
    'sound': decode_audio(film, 16_000, start=0.1, end=0.3),
    'frames': decode_frames(str(film), frame_rate=10, short_side=16),
    'shape': read_shape(folder / 'shape.off', 50),
    'series': read_measurements(folder / 'series.npz'),
    'named': read_measurements(folder / 'named.csv'),
  }


def test_what_is_read_apart_is_what_is_read_here(folder):
  here = read_all(folder)
  with reading_apart(SERVED):
    there = read_all(folder)
  again = read_all(folder)
  for name, value in here.items():
    for other in (there[name], again[name]):
      assert type(other) is type(value), name
      if isinstance(value, np.ndarray):
        assert value.dtype == other.dtype
      np.testing.assert_equal(other, value)


@pytest.mark.usefixtures('apart')
@pytest.mark.parametrize(
  ('read', 'error', 'message'),
  [
    (read_image, ValueError, 'x is no image, or is damaged'),
    (has_video, ValueError, 'x cannot be decoded'),
    (read_measurements, ValueError, 'x cannot be read as measurements'),
  ],
)
def test_damaged_files_are_told_of_as_ever(tmp_path, read, error, message):
  path = tmp_path / 'x'
  path.write_bytes(b'nothing')
  with pytest.raises(error, match=message):
    read(path)
  with pytest.raises(FileNotFoundError, match='no media file'):
    has_video(tmp_path / 'away.mp4')


def write_bomb(path, size):
  """An archive of zeros, a thousandth of what it unpacks to."""
  head = np.lib.format.header_data_from_array_1_0(np.zeros(1))
  with (
    zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive,
    archive.open('a.npy', 'w') as member,
  ):
    np.lib.format.write_array_header_1_0(
      member, {**head, 'shape': (size // 8, 1)}
    )
    for _ in range(size // 2**20):
      member.write(bytes(2**20))


@LINUX
@pytest.mark.usefixtures('apart')
def test_an_archive_that_unpacks_to_very_much(tmp_path):
  path = tmp_path / 'a.npz'
  write_bomb(path, 900 * 2**20)
  assert path.stat().st_size < 10**6
  with pytest.raises(ValueError, match='takes more than 805 MB of memory'):
    read_measurements(path)


@pytest.mark.usefixtures('apart')
def test_an_answer_of_many_pixels_is_refused(tmp_path):
  path = tmp_path / 'x.bmp'
  limits = SERVED._replace(most_answer_bytes=10**6)
  PIL.Image.new('L', (1000, 1000)).save(path)
  with (
    reading_apart(limits),
    pytest.raises(ValueError, match='comes to more than 1 MB'),
  ):
    read_image(path)
  assert read_image(path).size == (1000, 1000)


def test_a_file_that_takes_for_ever_is_left_out_of_a_folder(tmp_path):
  # A text of points in a reader that has a tenth of a second.
  good, slow = tmp_path / 'good.xyz', tmp_path / 'slow.xyz'
  good.write_text('0 0 1\n0 1 0\n1 0 0\n')
  slow.write_text('0.5 0.25 1\n' * 10**6)
  said = []
  with reading_apart(Limits(0.5, 2**32, 2**28)):
    begin = time.monotonic()
    found = list(
      read_files(
        [LabelledFile(path, 'a') for path in (slow, good)],
        lambda path: read_shape(path, 10),
        skip_unreadable=True,
        say=said.append,
      )
    )
  assert time.monotonic() - begin < 30
  assert [file.path for file, _ in found] == [good]
  assert [f'{slow} takes more than 0.5 s to be read' in x for x in said] == [
    True
  ]


@pytest.mark.parametrize('is_set', [False, True])
def test_the_flag_of_commands(is_set, monkeypatch, folder):
  del folder
  asked = []

  def record(limits):
    asked.append(limits)
    return reading_apart(limits)

  monkeypatch.setattr(untrusted, 'reading_apart', record)
  flag = type('Flag', (), {'value': is_set})
  monkeypatch.setattr(untrusted, '_UNTRUSTED', flag)
  with untrusted.reading():
    assert np.asarray(read_image(CASES / 'flower.jpg')).shape[-1] == 3
  assert asked == [CHOSEN] * is_set
  assert predict.untrusted is untrusted


def test_every_marked_reader_is_known_to_the_helper():
  root = pathlib.Path(__file__).parents[2] / 'experiments'
  marked = [
    node.name
    for path in root.rglob('*.py')
    for node in ast.walk(ast.parse(path.read_text('utf-8')))
    if isinstance(node, ast.FunctionDef)
    and 'done_apart' in map(ast.unparse, node.decorator_list)
  ]
  assert sorted(marked) == sorted(reading._READERS)
