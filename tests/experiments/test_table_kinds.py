"""What columns are taken for."""

import uuid

import numpy as np
import pytest

from experiments.table.kinds import (
  file_path,
  guess_answer,
  guess_inputs,
  guess_kind,
)
from experiments.table.rows import read_rows

EXTENSIONS = {
  'images': ('.png', '.jpg'),
  'points': ('.off', '.npy', '.txt'),
  'text': ('.txt',),
  'series': ('.npy', '.csv'),
  'number': (),
}


@pytest.fixture
def folder(tmp_path):
  (tmp_path / 'scans').mkdir()
  for name in ('0.png', '1.PNG', '2.npy', '3.txt'):
    (tmp_path / 'scans' / name).touch()
  return tmp_path


def kind(cells, folder):
  return guess_kind('x', cells, folder, EXTENSIONS)


def answer(cells, folder):
  return guess_answer('x', cells, folder, EXTENSIONS)


@pytest.mark.parametrize(
  ('cells', 'expected'),
  [
    (['scans/0.png', None, 'scans/1.PNG'], 'images'),
    (['scans\\0.png', 'scans\\1.PNG'], 'images'),
    (['scans/0.png', 'scans/gone.jpg'], 'images'),
    # Endings of several kinds.
    (['scans/2.npy'] * 2, 'series'),
    (['scans/2.npy', 'a.off'], 'points'),
    (['scans/3.txt'] * 2, 'text'),
    (['1', '2.5', '', 'NA'], 'number'),
    ([1, None, 3.5], 'number'),
    (['1,250', '45 %'], 'number'),
    (['01067', '80331', '01067', '01067'], 'category'),
    ([True, False, None], 'category'),
    (['m', 'f', 'f', 'm', 'NA'], 'category'),
    (['0', '1', 'unsure', '1', '0', '0'], 'category'),
    (['2024-02-29', '2024-03', 'NaT'], 'date'),
    (['3/4/2024', '13/4/2024'], 'date'),
    (['13/4/2024', '4/13/2024', '1', '1'], 'text'),
    ([[1, 2], [3, 4], None], 'list'),
    (['[1, 2]', '["a"]'], 'list'),
    (['a|b', 'b', 'a', 'a|b|c', 'c'], 'list'),
    (['1;2', '3;4.5'], 'list'),
    (['cough; fever', 'fever', 'cough', 'cough; fever'], 'list'),
    (['He came; he saw', 'It went; and left', 'So'], 'text'),
    (['He coughs since May.', 'No fever; no cough.', 'Well.'], 'text'),
    (['Ada', 'Alan', 'Emmy'], 'text'),
    ([f'report {i % 30} ' + 'word ' * 20 for i in range(90)], 'text'),
    ([f'ward {i % 30}' for i in range(90)], 'category'),
  ],
)
def test_kinds_of_inputs(folder, cells, expected):
  assert kind(cells, folder) == expected


def test_files_may_be_named_absolutely(folder):
  assert kind([str(folder / 'scans' / '0.png')], folder / 'scans') == 'images'


def test_files_of_other_systems_are_found(folder):
  assert file_path('scans\\0.png', folder) == folder / 'scans' / '0.png'
  odd = folder / 'a\\b.png'
  odd.touch()
  assert file_path('a\\b.png', folder) == odd


def test_files_that_are_not_there_are_an_error(folder):
  with pytest.raises(ValueError, match=r"'x' names files, such as 'a.png', of"):
    kind(['a.png', 'b.png'], folder)
  with pytest.raises(ValueError, match='none is in'):
    kind(['a' * 5000 + '.png'], folder)


def test_what_nothing_can_be_found_out_of_is_an_error(folder):
  with pytest.raises(ValueError, match="all cells of 'x' are empty"):
    kind([None, 'NA'], folder)
  with pytest.raises(ValueError, match='lists of other things'):
    kind([[[1]]], folder)


@pytest.mark.parametrize(
  ('cells', 'expected'),
  [
    (['ill', 'well', 'ill', 'well'], 'class'),
    ([True, False], 'class'),
    (['0', '1', '1'], 'class'),
    ([0.0, 1.0, None], 'class'),
    ([i % 3 for i in range(100)], 'class'),
    ([i % 5 for i in range(100)], 'number'),  # 5 of 100 is not below 5 %.
    ([i % 21 for i in range(1000)], 'number'),
    ([0.5, 1.5, 0.5], 'number'),
    (['a|b', 'b', 'a', 'a|b'], 'labels'),
    ([['a'], []], 'labels'),
    ([[3, 7], [7]], 'labels'),
    (['scans/0.png', 'scans/1.PNG'], 'mask'),
  ],
)
def test_kinds_of_answers(folder, cells, expected):
  assert answer(cells, folder) == expected


@pytest.mark.parametrize(
  ('cells', 'what'),
  [
    (['one text', 'and another'], 'x:sequence to have them written'),
    ([[0.5, 1.5]], "of the kind 'list', which is no answer"),
    (['2024-01-01', '2024-01-02'], "of the kind 'date'"),
    (['scans/2.npy'], "of the kind 'series'"),
    (['scans/3.txt'], "of the kind 'text'"),
  ],
)
def test_what_is_no_answer(folder, cells, what):
  with pytest.raises(ValueError) as error:
    answer(cells, folder)
  assert what in str(error.value)


def guessed(folder, columns, besides=()):
  path = folder / 'table.csv'
  lines = [
    ','.join(columns),
    *map(','.join, zip(*columns.values(), strict=True)),
  ]
  path.write_text('\n'.join(lines))
  guess = guess_inputs(read_rows(path), folder, besides, EXTENSIONS)
  assert guess.kinds.keys() | set(besides) <= columns.keys()
  return guess


def test_columns_that_say_nothing_are_left_out(folder):
  rng = np.random.default_rng(0)
  n = 12
  guess = guessed(
    folder,
    {
      'PassengerId': [str(900 - 7 * i) for i in range(n)],
      'number of row': [str(i) for i in rng.permutation(n)],
      'code': [f'P-{i:04}' for i in range(n)],
      'key': [str(uuid.UUID(int=i << 96 | i)) for i in range(n)],
      'same': ['x'] * n,
      'nothing': ['NA'] * n,
      'file': [f'gone/{i}.png' for i in range(n)],
      'income': [str(20_000 + 13 * i * i) for i in range(n)],
      'glucose_index': [f'{rng.normal():.6f}' for i in range(n)],
      'day': [f'2024-01-{i + 1:02}' for i in range(n)],
      'name': [f'Ada the {"ABCDEFGHIJKLM"[i]}' for i in range(n)],
      'sequence': [
        ''.join('ACGT'[j] for j in row) for row in rng.integers(0, 4, (n, 9))
      ],
      'marked': ['x', *[''] * (n - 1)],
      'ill': ['yes', 'no'] * (n // 2),
    },
    besides=['ill'],
  )
  assert guess.kinds == {
    'income': 'number',
    'glucose_index': 'number',
    'day': 'date',
    'name': 'text',
    'sequence': 'text',
    'marked': 'text',
  }
  reasons = dict(remark.split(' is left out: ', 1) for remark in guess.remarks)
  assert reasons == {
    "'PassengerId'": 'it names the rows',
    "'number of row'": 'it numbers the rows',
    "'code'": "it names the rows, such as 'P-0000'",
    "'key'": f"it names the rows, such as '{uuid.UUID(int=0)}'",
    "'same'": "it is 'x' in each row",
    "'nothing'": 'it is empty',
    "'file'": (
      "'file' names files, such as 'gone/0.png', of which none is in "
      f'{folder}: paths are absolute, or from the folder of the table'
    ),
  }


def test_nearly_numbers_are_told_of(folder):
  guess = guessed(folder, {'level': ['5', '6', '5', '6', '<5', '<5'] * 4})
  assert guess.kinds == {'level': 'category'}
  assert guess.remarks == ()
  guess = guessed(folder, {'level': ['5', '6', '5', '6', '5', '<5'] * 4})
  assert guess.remarks == (
    "'level' is taken for category: 20 of its 24 cells are numbers, and '<5' "
    'is none',
  )


def test_a_table_without_inputs_is_an_error(folder):
  with pytest.raises(ValueError, match=r"'b' is left out: it is '1' in each"):
    guessed(folder, {'a': ['1', '2'], 'b': ['1', '1']}, besides=['a'])
  with pytest.raises(ValueError, match='none besides them'):
    guessed(folder, {'a': ['1', '2']}, besides=['a'])
