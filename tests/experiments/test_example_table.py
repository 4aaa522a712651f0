"""The tables that `example_table` writes: ceilings, splits, holes, masks."""

import csv
import re
import subprocess
import sys
import wave

import cv2
import numpy as np
import pytest

from experiments.configs import table as table_config
from experiments.datasets import tones
from experiments.datasets.embedded_builder import FILES
from experiments.datasets.examples import rooms as example_rooms
from experiments.tasks.open_values import settle
from tests.documents import ROOT

SENSES = ('sound', 'motion', 'furniture', 'note')
SPLITS = ('train', 'val', 'test')
GERMANIC = ('dan', 'deu_1996', 'eng', 'nld', 'nob', 'swe')
ROMANCE = ('fra', 'ita', 'por_PT', 'spa')


def read(path):
  with path.open(encoding='utf-8', newline='') as file:
    return list(csv.DictReader(file))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  place = tmp_path_factory.mktemp('example') / 'tables'
  command = [sys.executable, '-m', 'experiments.example_table']
  done = subprocess.run(
    [*command, f'--save_to={place}'],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  names = 'rooms.csv', 'rooms_new.csv', 'digits_in_pictures.csv', 'SOURCES.txt'
  assert done.stdout.splitlines() == [str(place / name) for name in names]
  return place


@pytest.fixture(scope='module')
def rooms(folder):
  return read(folder / 'rooms.csv')


@pytest.fixture(scope='module')
def paragraphs():
  lines = (FILES / 'declaration.tsv').read_text(encoding='utf-8').splitlines()
  return [line.split('\t') for line in lines]


def factor(row, sense, paragraphs):
  """What a row's cell says of its answers, told from what it names."""
  cell = row[sense]
  if sense == 'sound':
    return 'high' if re.search(r'tone[14]\.', cell) else 'low'
  if sense == 'motion':
    return 'turn' if re.search(r'-(PEN|IR|ER)-', cell) else 'lift'
  if sense == 'furniture':
    kind = re.search(r'-(\w+)\.', cell)[1]
    seats = {'chair': 'seat', 'sofa': 'seat', 'table': 'table'}
    return seats.get(kind, 'cupboard')
  languages = {language for language, _, text in paragraphs if cell in text}
  if languages & set(GERMANIC):
    return 'Germanic'
  return 'Romance' if languages & set(ROMANCE) else 'other'


@pytest.fixture(scope='module')
def known(rooms, paragraphs):
  """Of each sense, the rows that have it and what it says: one of each."""
  return {
    sense: [
      (row, factor(row, sense, paragraphs)) for row in rooms if row[sense]
    ]
    for sense in SENSES
  }


def test_a_tenth_of_the_cells_is_empty(rooms):
  assert len(rooms) == 1512
  for name, rate in (
    *((name, 0.1) for name in example_rooms.INPUTS),
    *((name, 0.05) for name in example_rooms.ANSWERS),
  ):
    share = np.mean([not row[name] for row in rooms])
    assert abs(share - rate) < 4 * np.sqrt(rate / len(rooms)), name
  assert all(any(row[sense] for sense in SENSES) for row in rooms)


def test_no_sense_alone_tells_whether_two_match(known):
  for sense, found in known.items():
    told = [(said, row['match']) for row, said in found if row['match']]
    right = sum(
      max(told.count((said, answer)) for answer in ('yes', 'no'))
      for said in {said for said, _ in told}
    )
    # Three standard deviations of what chance gives of so many rows.
    assert right / len(told) < 0.5 + 1.5 / np.sqrt(len(told)), sense


def test_sound_and_motion_together_tell_it(known):
  arms = {id(row): said for row, said in known['motion']}
  for row, voice in known['sound']:
    if id(row) in arms and row['match']:
      agree = (voice == 'high') == (arms[id(row)] == 'lift')
      assert row['match'] == ('yes' if agree else 'no')


def test_of_energy_each_sense_explains_what_is_said(known):
  total = 16 + 16 + 50 / 3 + 50 / 3 + 4 / 3 + 2 / 3 + 9 / 8 + 1
  expected = dict(zip(SENSES, [16, 16, 50 / 3, 50 / 3], strict=True))
  for sense, found in known.items():
    pairs = [(s, float(row['energy'])) for row, s in found if row['energy']]
    said, energy = map(np.array, zip(*pairs, strict=True))
    means = {each: energy[said == each].mean() for each in set(said)}
    predicted = np.array([means[each] for each in said])
    explained = 1 - np.var(energy - predicted) / np.var(energy)
    assert abs(explained - expected[sense] / total) < 0.05, sense
    assert explained < 1 / 3


def test_energy_is_the_sum_that_is_told(rooms, paragraphs):
  effects = {
    **{'high': 4, 'low': -4, 'lift': 4, 'turn': -4},
    **{'seat': 5, 'table': 0, 'cupboard': -5},
    **{'Germanic': 5, 'Romance': 0, 'other': -5},
    **{'north': 1, 'middle': 0, 'south': -1},
  }
  rest = []
  for row in rooms:
    if not all(row.values()):
      continue
    told = [factor(row, sense, paragraphs) for sense in SENSES]
    day = np.datetime64(row['visited']) - np.datetime64('2025-01-01')
    rest.append(
      float(row['energy'])
      - 50
      - sum(effects[each] for each in (*told, row['building']))
      - (float(row['area']) - 30) / 10
      - 1.5 * np.cos(2 * np.pi * day.astype(int) / 365)
    )
  assert len(rest) > 400
  assert abs(np.mean(rest)) < 0.2 and abs(np.std(rest) - 1) < 0.15


def test_tags_are_a_thing_and_a_family(known):
  for place, sense in enumerate(('furniture', 'note')):
    for row, said in known[sense]:
      if row['tags']:
        assert row['tags'].split('|')[place] == said


def test_splits_share_no_example(rooms):
  for sense in ('sound', 'motion', 'furniture'):
    files = [{x[sense] for x in rooms if x['split'] == s} for s in SPLITS]
    for a, b in ((0, 1), (0, 2), (1, 2)):
      assert files[a] & files[b] <= {''}, (sense, SPLITS[a], SPLITS[b])


def test_people_of_the_test_are_others(rooms):
  people = {
    split: {
      int(re.search(r'person(\d+)', row['motion'])[1])
      for row in rooms
      if row['split'] == split and row['motion']
    }
    for split in SPLITS
  }
  assert people['test'] == {6, 7, 8, 9, 10}
  assert people['train'] | people['val'] == {1, 2, 3, 4, 5}
  assert len(people['val']) == 1 and not people['val'] & people['train']


def test_sounds_of_the_test_are_of_syllables_held_out(rooms, folder):
  with np.load(FILES / 'tones.npz') as arrays:
    audio = tones.decode_mu_law(arrays['audio_mulaw'])
    syllables = arrays['syllable']
  held_out = set(syllables[tones.held_out(syllables)])
  codes = np.round(audio[:, 500:2000:100] * 32767).astype(int)
  heard = {split: set() for split in SPLITS}
  for row in rooms[::5]:
    if row['sound']:
      with wave.open(str(folder / row['sound'])) as file:
        assert (file.getframerate(), file.getnframes()) == (8000, 3136)
        found = np.frombuffer(file.readframes(3136), '<i2')[500:2000:100]
      nearest = np.abs(codes - found).sum(axis=1)
      assert nearest.min() < 50
      heard[row['split']].add(syllables[nearest.argmin()])
  assert heard['test'] <= held_out
  assert not (heard['train'] | heard['val']) & held_out
  assert not heard['train'] & heard['val']


def test_notes_of_the_test_are_of_paragraphs_held_out(rooms, paragraphs):
  held_out = {*range(20, 26), *range(40, 46)}
  for row in rooms:
    if row['note']:
      found = {int(n) for _, n, text in paragraphs if row['note'] in text}
      assert found, row['note']
      # A few words may stand in several.
      assert found & held_out if row['split'] == 'test' else found - held_out


def test_rows_to_predict_lack_cells_and_have_no_answers(folder):
  rows = read(folder / 'rooms_new.csv')
  assert [sum(map(bool, row.values())) for row in rows] == [7, 2, 3, 2, 2]
  assert list(rows[0]) == list(example_rooms.INPUTS)
  assert all((folder / rows[0][sense]).is_file() for sense in SENSES[:3])


def test_masks_fit_pictures(folder):
  rows = read(folder / 'digits_in_pictures.csv')
  assert len(rows) == 1500
  kinds = {split: set() for split in SPLITS}
  for row in rows[::3] + rows[1::3] + rows[2::30]:
    picture, seg = (
      cv2.imread(str(folder / row[name]), cv2.IMREAD_UNCHANGED)
      for name in ('picture', 'seg')
    )
    assert picture.shape == (48, 48, 3) and seg.shape == (48, 48)
    assert picture.dtype == seg.dtype == np.uint8
    found = set(np.unique(seg)) - {0}
    assert found <= {1, 2, 3} and len(found) <= int(row['count'])
    # Digits do not touch; one may be in several parts.
    num_parts, _ = cv2.connectedComponents((seg > 0).astype(np.uint8))
    assert num_parts - 1 >= int(row['count'])
    kinds[row['split']] |= found
  assert all(found == {1, 2, 3} for found in kinds.values())
  counts = [row['count'] for row in rows if row['split'] == 'test']
  assert [counts.count(each) for each in '123'] == [80, 80, 80]


@pytest.fixture
def small(monkeypatch):
  rounds = {'train': 1, 'val': 1, 'test': 1}
  monkeypatch.setattr(example_rooms, 'ROUNDS', rounds)


def test_a_seed_makes_the_same_rows(small, tmp_path):
  tables = []
  for name, seed in (('a', 0), ('b', 0), ('c', 1)):
    (tmp_path / name).mkdir()
    path, _ = example_rooms.write_rooms(tmp_path / name, seed)
    tables.append(path.read_bytes())
  assert tables[0] == tables[1] != tables[2]


def test_kinds_of_all_columns_are_found_out(small, tmp_path):
  path, _ = example_rooms.write_rooms(tmp_path, 0)
  config = table_config.get_config()
  config.data.table, config.data.split = str(path), 'split'
  config.data.answers = 'match,energy,tags'
  config, _ = settle(config, None)
  assert {each['name']: each['kind'] for each in config.data.columns} == {
    **{'sound': 'audio', 'motion': 'series', 'furniture': 'points'},
    **{'note': 'text', 'area': 'number', 'building': 'category'},
    **{'visited': 'date', 'match': 'class', 'energy': 'number'},
    'tags': 'labels',
  }
