"""A server of rows of a table: a form of its columns, and nothing else."""

import contextlib

import httpx
import numpy as np
import pytest

from experiments.tasks.open_values import settle
from tests.served import served
from tests.small_runs import random_run
from tests.small_tables import small, write_table


@pytest.fixture(scope='module')
def path(tmp_path_factory):
  return write_table(tmp_path_factory.mktemp('table'))


@pytest.fixture(scope='module')
def run(path, tmp_path_factory):
  data_dir = str(tmp_path_factory.mktemp('data'))
  return random_run(settle(small(path), data_dir)[0])


@pytest.fixture(scope='module')
def client(run):
  with contextlib.ExitStack() as stack:
    address = stack.enter_context(served(run))
    yield stack.enter_context(httpx.Client(base_url=address, timeout=100.0))


def ask(client, *, files=None, route='/api/predict', **cells):
  return client.post(route, data=cells, files=files or {})


def said(response):
  assert response.status_code == 200, response.text
  (row,) = response.json()['rows']
  chances = {x['name']: x['probability'] for x in row['ill']['classes']}
  return chances['yes']


def test_the_run_says_which_cells_there_are(client, run):
  about = client.get('/api/run').json()
  assert [cell['name'] for cell in about['cells']] == [
    *('picture', 'load', 'note', 'age', 'sex')
  ]
  picture, load, note, age, sex = about['cells']
  assert '.png' in picture['extensions'] and '.csv' in load['extensions']
  assert note['long'] and not note['extensions'] and not age['extensions']
  assert sorted(sex['choices']) == ['f', 'm']


def test_a_form_is_answered_as_the_row_of_a_table(client, run, path, tmp_path):
  table = tmp_path / 'row.csv'
  table.write_text(f'picture,age,sex\n{path.parent / "1.png"},44,f\n')
  (row,) = run.predict(table).rows
  expected = dict(row['ill'].top(2))['yes']
  picture = (path.parent / '1.png').read_bytes()
  response = ask(
    client, files={'picture': ('a.png', picture)}, age='44', sex='f'
  )
  np.testing.assert_allclose(said(response), expected, rtol=1e-4)
  # Of what is no file, JSON will do.
  (row,) = run.predict(_table(tmp_path, 'age,sex\n44,f\n')).rows
  response = client.post(
    '/api/predict', json={'cells': {'age': 44, 'sex': 'f'}}
  )
  expected = dict(row['ill'].top(2))['yes']
  np.testing.assert_allclose(said(response), expected, rtol=1e-4)


def _table(folder, text):
  path = folder / 'other.csv'
  path.write_text(text)
  return path


def test_what_is_left_empty_is_not_there(client):
  alone = said(ask(client, age='44'))
  empty = ask(client, files={'picture': ('', b'')}, age='44', note='', sex='')
  np.testing.assert_allclose(said(empty), alone)
  assert said(ask(client, age='70')) != alone


@pytest.mark.parametrize(
  ('cells', 'status', 'told'),
  [
    ({'age': ''}, 400, 'All cells are empty'),
    ({'wage': '3'}, 400, "no cell 'wage'"),
    ({'age': 'old'}, 422, "column 'age'"),
    # A file of the server's own is never opened.
    ({'picture': '/etc/passwd'}, 415, 'picture is a file: send it as one'),
    ({'load': '1.csv'}, 415, 'load is a file'),
  ],
)
def test_what_is_wrong_with_cells_is_told(client, cells, status, told):
  response = ask(client, **cells)
  assert response.status_code == status
  assert told in response.json()['error']


def test_a_text_that_names_a_file_is_a_text(client, path):
  named = said(ask(client, note=str(path)))
  assert 0.0 < named < 1.0
  other = path.parent / 'note.txt'
  other.write_text('patient is ill')
  content = said(ask(client, note='patient is ill'))
  assert said(ask(client, note=str(other))) != content


def test_files_are_of_their_cell(client, path):
  series = (path.parent / 'load1.csv').read_bytes()
  response = ask(client, files={'picture': ('a.csv', series)})
  assert response.status_code == 415
  assert 'picture is .' in response.json()['error']
  response = ask(client, files={'age': ('a.csv', series)})
  assert response.status_code == 415
  damaged = ask(client, files={'picture': ('a.png', b'no picture')})
  assert damaged.status_code == 422
  assert 'a.png' in damaged.json()['error']


def test_tables_of_strangers_are_not_read(client, path):
  response = client.post('/api/predict', files={'file': path.read_bytes()})
  assert response.status_code == 400
  assert "no cell 'file'" in response.json()['error']


def test_attention_to_all_cells_of_a_row(client, path):
  picture = (path.parent / '1.png').read_bytes()
  response = ask(
    client,
    route='/api/attention',
    files={'picture': ('a.png', picture)},
    note='is ill',
    age='50',
  )
  assert response.status_code == 200
  for name in ('picture', 'note', 'age'):
    assert name in response.text


def test_the_page_shows_answers(client):
  reply = ask(client, route='/api/predict?show=1', age='44').json()
  assert 'ill' in reply['said'] and 'risk' in reply['said']
  assert [view['name'] for view in reply['views']] == ['age']
  assert reply['files'][0]['name'] == 'answer.csv'
