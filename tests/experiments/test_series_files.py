"""Tables as people's programs write them: the numbers that are there."""

import io

import numpy as np
import pytest

from experiments.configs import folder as folder_config
from experiments.modalities.series.files import read_measurements, read_series
from experiments.tasks import make_task
from experiments.tasks.open_values import settle

RNG = np.random.default_rng(0)
A = np.round(RNG.standard_normal((20, 3)), 3)
ROWS = '\n'.join(','.join(map(str, row)) for row in A)
TIMES = 1.6e9 + np.arange(20.0)


def with_column(column, mark=','):
  return '\n'.join(
    f'{cell}{mark}{row.replace(",", mark)}'
    for cell, row in zip(column, ROWS.split('\n'), strict=True)
  )


def written(**options):
  """What numpy writes of the same numbers."""
  file = io.StringIO()
  np.savetxt(file, A, fmt='%.3f', **options)
  return file.getvalue()


TABLES = {
  'numbers for names, as of pandas': '0,1,2\n' + ROWS,
  'index and names, as of pandas': ',x,y,z\n' + with_column(range(20)),
  'index from 1, as of R': '"","x","y","z"\n'
  + with_column(f'"{i}"' for i in range(1, 21)),
  'row names, as of R': 'x y z\n' + with_column(range(1, 21), ' '),
  'an index written again': 'Unnamed: 0,x,y,z\n' + with_column(range(20)),
  'time with a unit': 'Time (s),x,y,z\n' + with_column(TIMES),
  'time with another': 'Timestamp [ns],x,y,z\n' + with_column(TIMES),
  'time with a suffix': 'time_ms,x,y,z\n' + with_column(TIMES),
  'a short time': 't,x,y,z\n' + with_column(np.arange(20) / 10),
  'dates': 'date,x,y,z\n'
  + with_column(f'2020-01-{i:02}' for i in range(1, 21)),
  'semicolons': ROWS.replace(',', ';'),
  'decimal commas': 'x;y;z\n' + ROWS.replace(',', ';').replace('.', ','),
  'decimal commas and tabs': ROWS.replace(',', '\t').replace('.', ','),
  'decimal commas and spaces': ROWS.replace(',', ' ').replace('.', ','),
  'the line of Excel': 'sep=;\nx;y;z\n' + ROWS.replace(',', ';'),
  'marks at the ends': 'x,y,z,\n' + ROWS.replace('\n', ',\n') + ',',
  'spaces after commas': ROWS.replace(',', ', '),
  'a comment of numpy': written(header='x y z'),
  'comments': '# made by hand\n// twice\nx,y,z\n' + ROWS,
  'quotes': '"x","y","z"\n"'
  + ROWS.replace(',', '","').replace('\n', '"\n"')
  + '"',
}


@pytest.mark.parametrize('text', TABLES.values(), ids=TABLES)
def test_the_numbers_that_are_there(tmp_path, text):
  path = tmp_path / 'x.csv'
  path.write_text(text, encoding='utf-8')
  values, names = read_measurements(path)
  np.testing.assert_array_equal(values, A)
  assert names in ((), ('x', 'y', 'z'))
  # The names of channels are told wherever there are some.
  assert bool(names) == ('x' in text)


def test_a_column_named_t_that_falls_is_a_channel(tmp_path):
  (tmp_path / 'x.csv').write_text('t,x\n3,1\n2,2\n4,3\n', encoding='utf-8')
  assert read_measurements(tmp_path / 'x.csv').names == ('t', 'x')


def test_data_that_begins_with_a_count_is_data(tmp_path):
  (tmp_path / 'x.csv').write_text('0,1\n5,7\n1,2\n', encoding='utf-8')
  np.testing.assert_array_equal(
    read_series(tmp_path / 'x.csv'), [[0, 1], [5, 7], [1, 2]]
  )


@pytest.mark.parametrize('encoding', ['utf-16', 'latin-1'])
def test_encodings_of_spreadsheets(tmp_path, encoding):
  (tmp_path / 'x.csv').write_bytes('°C\tµ\n1.5\t2\n'.encode(encoding))
  values, names = read_measurements(tmp_path / 'x.csv')
  assert names == ('°C', 'µ')
  np.testing.assert_array_equal(values, [[1.5, 2]])


@pytest.mark.parametrize(
  ('text', 'why'),
  [
    ('1,2,3\n1,2,3,9\n', 'row 2 has 4 cells, and the first has 3'),
    ('x,y\n1,2\n3\n', 'row 2 has 1 cells'),
    ('v\n1,5\n2,5\n', '1 names of columns, and 2 cells'),
    ('x;y\n1;1.234,5\n', "'1.234,5' is no number"),
    ('x,y\n1,high\n', "'high' is no number"),
    ('x,y\n1,\n', "'' is no number"),
    ('time\n1\n2\n', 'times and no channels'),
  ],
)
def test_what_cannot_be_told_is_refused(tmp_path, text, why):
  path = tmp_path / 'x.csv'
  path.write_text(text, encoding='utf-8')
  with pytest.raises(ValueError) as error:
    read_series(path)
  assert why in str(error.value) and str(path) in str(error.value)


@pytest.mark.parametrize('dtype', [np.complex64, 'datetime64[s]', 'U3', object])
def test_arrays_of_other_things_are_refused(tmp_path, dtype):
  np.save(tmp_path / 'x.npy', np.zeros((3, 2), dtype), allow_pickle=True)
  with pytest.raises(ValueError, match=r'x\.npy cannot be read'):
    read_series(tmp_path / 'x.npy')


@pytest.mark.parametrize('name', ['x.npy', 'x.npz'])
def test_arrays_that_are_cut_or_changed(tmp_path, name):
  """Anywhere: what is raised is always the one error that names the file."""
  save = np.savez_compressed if name == 'x.npz' else np.save
  save(tmp_path / name, A)
  whole = (tmp_path / name).read_bytes()
  rng = np.random.default_rng(1)
  for i in range(120):
    damaged = bytearray(whole)
    if i % 2:
      damaged = damaged[: rng.integers(len(whole))]
    else:
      damaged[rng.integers(len(whole))] ^= 1 << rng.integers(8)
    (tmp_path / name).write_bytes(damaged)
    try:
      read_series(tmp_path / name)
    except ValueError as error:
      assert f'{tmp_path / name} cannot be read' in str(error)


# Folders.


def write_folder(root, content):
  """Files of two classes; `content` takes the class and the number of one."""
  for split in ('train', 'test'):
    for label in 'ab':
      place = root / split / label
      place.mkdir(parents=True)
      for i in range(3):
        text = content(label, i)
        (place / f'{i}.csv').write_text(text, encoding='utf-8')


def opened(root, tmp_path):
  config = folder_config.get_config('timeseries')
  config.data.root = str(root)
  settled, _ = settle(config, str(tmp_path / 'data'))
  data = make_task(settled, str(tmp_path / 'data')).data.load()
  examples = [data.prepare(data.train[i])['series'] for i in range(6)]
  return settled, np.stack(examples)


@pytest.mark.parametrize(
  ('level', 'size', 'digits'), [(101_325, 1.4, 3), (473_977_420, 15, 0)]
)
def test_small_changes_of_large_numbers_arrive(tmp_path, level, size, digits):
  rng = np.random.default_rng(0)
  values = np.round(level + size * rng.standard_normal((12, 50)), digits)
  rows = iter(values[[*range(6), *range(6)]])

  def content(label, i):
    return 'v\n' + '\n'.join(f'{x:.{digits}f}' for x in next(rows))

  write_folder(tmp_path / 'own', content)
  config, examples = opened(tmp_path / 'own', tmp_path)
  seen = values[:6].astype(np.float64)
  assert config.data.mean[0] == pytest.approx(seen.mean(), abs=1e-3 * size)
  expected = (seen - seen.mean()) / seen.std()
  np.testing.assert_allclose(
    np.sort(examples[..., 0], axis=None),
    np.sort(expected, axis=None),
    atol=1e-3,
  )


def test_channels_are_known_by_name(tmp_path):
  def content(label, i):
    rows = RNG.standard_normal((20, 2)) + np.array([0, 100])
    names = ['low', 'high']
    if i == 1:
      rows, names = rows[:, ::-1], names[::-1]
    return '\n'.join([','.join(names), *(f'{a},{b}' for a, b in rows)])

  write_folder(tmp_path / 'own', content)
  config, examples = opened(tmp_path / 'own', tmp_path)
  assert config.data.channels == ('low', 'high')
  assert np.abs(np.array(config.data.mean) - [0, 100]).max() < 1
  assert np.abs(examples).max() < 6
  other = tmp_path / 'own' / 'train' / 'a' / '2.csv'
  other.write_text('low,wide\n1,2\n', encoding='utf-8')
  with pytest.raises(ValueError, match=r'2\.csv has the channels low, wide'):
    opened(tmp_path / 'own', tmp_path)


def test_a_channel_that_never_changes_is_zero(tmp_path):
  write_folder(
    tmp_path / 'own',
    lambda label, i: '\n'.join(f'0.1,{j}.5' for j in range(i + 9)),
  )
  config, examples = opened(tmp_path / 'own', tmp_path)
  assert config.data.stddev[0] == 1.0
  assert np.abs(examples[..., 0]).max() < 1e-3
