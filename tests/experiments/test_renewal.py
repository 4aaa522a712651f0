"""An exported function grows too old, or is too new, and is written anew."""

import datetime
import json
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import zlib
from typing import NamedTuple

import jax
import numpy as np
import pytest

from experiments.export import write_export
from experiments.handing_on import exporting, load, model_card, window
from experiments.handing_on.renewal import renew
from experiments.handing_on.window import Window, window_of
from tests.small_runs import random_run, small_digits

ROOT = pathlib.Path(__file__).parents[2]
WRITTEN = pathlib.Path(__file__).with_name('exports')
OLD, NEW = '0.8.1', '0.12.0.1'
LONG_AGO = Window(datetime.date(2020, 1, 10), datetime.date(2020, 7, 31))


def day(text):
  return datetime.date.fromisoformat(text)


# Until when.


@pytest.mark.parametrize(
  ('version', 'first', 'last'),
  [
    ((0, 10, 2), '2026-05-27', '2026-12-17'),
    ((0, 12, 0, 1), '2026-09-30', '2027-04-21'),
    # Released on a 29th.
    ((0, 8, 3), '2026-01-08', '2026-07-28'),
    # Not known: as the one before.
    ((0, 10, 3), '2026-05-27', '2026-12-17'),
  ],
)
def test_the_window_is_of_three_weeks_and_six_months(version, first, last):
  assert window_of(version) == Window(day(first), day(last))


@pytest.mark.parametrize('name', ['', '-oldest'])
def test_the_window_of_what_is_installed_is_exact(name):
  text = (ROOT / f'requirements{name}.txt').read_text()
  pinned = re.findall(r'^jaxlib==([\d.]+)', text, re.MULTILINE)
  assert pinned
  for version in pinned:
    numbers = tuple(map(int, version.split('.')))
    assert numbers in window._RELEASED, (
      f'Add the day on which jaxlib {version} was released.'
    )


# What others wrote. These files are of other releases of jax, really.


def written_by(release, folder):
  """A folder with the function of some jax, weights inside or nowhere."""
  folder.mkdir()
  shutil.copy(WRITTEN / f'{release}.jaxexport', folder / exporting.MODEL)
  origin = {
    'jax': release,
    'platforms': ['cpu', 'cuda', 'tpu'],
    'opens_from': '2025-10-28',
    'opens_until': '2026-05-18',
  }
  (folder / exporting.ORIGIN).write_text(json.dumps(origin))
  return folder


WEIGHTS = {'w': np.ones((3, 4), np.float32)}
INPUTS = {'x': np.ones((5, 3), np.float32)}


def test_what_does_not_open_says_what_to_do(tmp_path):
  refused = []
  for release in (OLD, NEW):
    folder = written_by(release, tmp_path / release)
    try:
      shares = load.load(folder)(WEIGHTS, INPUTS)['shares']
    except ValueError as error:
      refused.append(release)
      text = str(error)
    else:
      np.testing.assert_allclose(shares, np.full((5, 4), 0.25), rtol=1e-6)
      continue
    assert text.startswith(f'jax {jax.__version__} does not open {folder}')
    assert f'jax {release} wrote it, for cpu, cuda, tpu. Releases' in text
    assert 'from 2025-10-28 to 2026-05-18 are promised' in text
    assert f"pip install 'jax=={release}'" in text
    assert 'export the run again: the weights are inside' in text
    assert 'JAX_EXPORT_DESERIALIZE_EXPIRED_VERSIONS=1' in text
  # They are further apart than any jax opens.
  assert refused


# Written anew.


@pytest.fixture(scope='module')
def aged(tmp_path_factory):
  """What was exported long ago, by what its files say."""
  folder = tmp_path_factory.mktemp('exports') / 'small model'
  folder.mkdir()
  with pytest.MonkeyPatch.context() as patch:
    for module in (exporting, model_card):
      patch.setattr(module, 'own_window', lambda: LONG_AGO)
    write_export(
      random_run(small_digits()),
      folder,
      platforms=['cpu', 'cuda'],
      weights_inside=False,
    )
  return folder


@pytest.fixture
def folder(aged, tmp_path):
  return shutil.copytree(aged, tmp_path / 'small model')


def predictions(folder):
  images = np.random.default_rng(0).normal(size=(3, 28, 28, 1))
  return load.load(folder)({'image': images.astype(np.float32)})['predictions']


def make_unreadable(folder):
  """Puts a function into it that no jax of this release opens."""
  release = NEW if jax.__version_info__ < (0, 11) else OLD
  shutil.copy(WRITTEN / f'{release}.jaxexport', folder / exporting.MODEL)
  # Which is as it was written.
  path = folder / exporting.ORIGIN
  origin = json.loads(path.read_text())
  origin['crc32'] = zlib.crc32((folder / exporting.MODEL).read_bytes())
  path.write_text(json.dumps(origin))


class Renewed(NamedTuple):
  folder: pathlib.Path
  before: dict[str, bytes]
  predictions: np.ndarray


@pytest.fixture(scope='module')
def renewed(aged, tmp_path_factory):
  """A folder that was written anew, in which a person has written."""
  folder = tmp_path_factory.mktemp('again') / 'small model'
  shutil.copytree(aged, folder)
  before = predictions(folder)
  make_unreadable(folder)
  card = (folder / exporting.CARD).read_text()
  card = card.replace('## Results\n', '## Results\n\nGood enough for me.\n')
  (folder / exporting.CARD).write_text(f'{card}\n## My notes\n\nNone.\n')
  files = {path.name: path.read_bytes() for path in folder.iterdir()}
  with pytest.raises(ValueError, match=r"export --renew='.*/small model'"):
    load.load(folder)
  renew(folder, None)
  return Renewed(folder, files, before)


def test_a_function_that_is_written_anew_predicts_the_same(renewed):
  assert renewed.predictions.std() > 0.01
  np.testing.assert_array_equal(
    predictions(renewed.folder), renewed.predictions
  )


def test_the_card_and_the_folder_say_until_when(renewed):
  card = renewed.before[exporting.CARD].decode()
  assert 'its releases from 2020-01-10 to 2020-07-31 open it' in card
  now = window.own_window()
  changed = (renewed.folder / exporting.CARD).read_text()
  assert f'its releases from {now.first} to {now.last} open it' in changed
  assert f'was written by jax {jax.__version__}' in changed
  assert '2020-07' not in changed and 'It runs on cpu, cuda. ' in changed
  assert json.loads((renewed.folder / exporting.ORIGIN).read_text()) == {
    'jax': jax.__version__,
    'crc32': zlib.crc32((renewed.folder / exporting.MODEL).read_bytes()),
    'platforms': ['cpu', 'cuda'],
    'opens_from': now.first.isoformat(),
    'opens_until': now.last.isoformat(),
  }


def test_all_else_stays_as_it_was(renewed):
  now = {path.name: path.read_bytes() for path in renewed.folder.iterdir()}
  assert {name for name in now if now[name] != renewed.before.get(name)} == {
    *('README.md', 'export.json', 'model.jaxexport')
  }
  assert set(now) == set(renewed.before)
  before, changed = (
    each[exporting.CARD].decode() for each in (renewed.before, now)
  )
  assert '## Results\n\nGood enough for me.\n' in changed
  assert changed.endswith('\n\n## My notes\n\nNone.\n')
  assert changed.partition('## Use')[0] == before.partition('## Use')[0]


def test_what_cannot_be_written_anew_stays_as_it_is(folder):
  before = {path: path.read_bytes() for path in folder.iterdir()}
  (folder / exporting.ORIGIN).rename(folder / 'aside')
  with pytest.raises(FileNotFoundError, match=r'give --platforms, as its READ'):
    renew(folder, None)
  (folder / 'aside').rename(folder / exporting.ORIGIN)
  weights = (folder / exporting.WEIGHTS).rename(folder / 'aside')
  with pytest.raises(ValueError, match='with the weights inside cannot be'):
    renew(folder, None)
  weights.rename(folder / exporting.WEIGHTS)
  with pytest.raises(FileNotFoundError, match='There is no run in'):
    renew(folder / 'nowhere', None)
  assert {path: path.read_bytes() for path in folder.iterdir()} == before


def command(*arguments, cwd):
  return subprocess.run(
    [sys.executable, *map(str, arguments)],
    cwd=cwd,
    capture_output=True,
    text=True,
    check=False,
  )


@pytest.mark.slow
def test_a_person_who_does_what_load_says(folder):
  make_unreadable(folder)
  images = np.zeros((2, 28, 28, 1), np.float32)
  np.savez(folder.parent / 'inputs.npz', image=images)
  run = [folder / 'load.py', 'inputs.npz', 'outputs.npz']
  refused = command(*run, cwd=folder.parent)
  assert refused.returncode == 1
  assert f'Error: jax {jax.__version__} does not open' in refused.stderr
  (line,) = re.findall('write it anew: python (.*)', refused.stderr)
  wrong = command(*shlex.split(line), '--workdir=runs/digits', cwd=ROOT)
  assert wrong.returncode == 2 and 'leave out --workdir' in wrong.stderr
  done = command(*shlex.split(line), cwd=ROOT)
  assert done.returncode == 0, done.stderr
  assert f'is written anew by jax {jax.__version__}, for cpu, cuda' in (
    done.stdout
  )
  ran = command(*run, cwd=folder.parent)
  assert ran.stdout == 'predictions: float32 [2, 10]\n', ran.stderr
