"""Tables as people's programs write them: read, or told of."""

import datetime
import decimal
import json
import time

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from experiments.table.rows import read_rows


@pytest.fixture
def table(tmp_path):
  def write(content, name='people.csv', encoding='utf-8'):
    path = tmp_path / name
    if isinstance(content, str):
      content = content.encode(encoding)
    path.write_bytes(content)
    return path

  return write


def columns(path):
  return {name: list(cells) for name, cells in read_rows(path).columns.items()}


def message(path):
  with pytest.raises(ValueError) as error:
    read_rows(path)
  assert str(path) in str(error.value)
  return str(error.value)


def test_csv(table):
  rows = read_rows(table('name,age\nAda, 36\nAlan ,\n'))
  assert rows.names == ('name', 'age')
  assert rows.columns == {'name': ['Ada', 'Alan'], 'age': ['36', None]}
  assert (rows.num_rows, list(rows.lines), rows.remarks) == (2, [2, 3], ())


def test_quotes_hold_marks_breaks_and_quotes(table):
  path = table('id,note\r\n1,"a, b\r\n""c"""\r\n\r\n2,d\r\n')
  rows = read_rows(path)
  assert rows.columns['note'] == ['a, b\r\n"c"', 'd']
  # The second row lies behind a break in quotes and an empty line.
  assert rows.place(1) == f'{path}, line 5'


def test_columns_may_be_called_by_numbers(table):
  assert columns(table('0,1\n2.5,3\n')) == {'0': ['2.5'], '1': ['3']}


def test_line_ends_of_an_old_mac(table):
  assert columns(table('a,b\r1,2\r3,4\r')) == {'a': ['1', '3'], 'b': ['2', '4']}


def test_german_excel(table):
  path = table(
    'sep=;\r\nGröße;Betrag;Note;Ort\r\n1,75;1.234,50;gut;Köln\r\n'
    '1,8;12.000,00;;Ulm\r\n;;;\r\n',
    encoding='cp1252',
  )
  rows = read_rows(path)
  assert rows.columns == {
    'Größe': ['1.75', '1.8'],
    'Betrag': ['1234.50', '12000.00'],
    'Note': ['gut', None],
    'Ort': ['Köln', 'Ulm'],
  }
  assert rows.remarks == (
    'read as Latin-1, being no UTF-8',
    "decimal commas in 'Größe', 'Betrag'",
  )
  assert rows.place(0) == f'{path}, line 3'


def test_points_are_thousands_where_commas_are_decimal(table):
  path = table('a;b;c\n1,5;1.250;1.5\n2,5;300;2.5\n')
  assert columns(path) == {
    'a': ['1.5', '2.5'],
    'b': ['1250', '300'],
    'c': ['1.5', '2.5'],
  }
  assert 'thousands' in read_rows(path).remarks[1]


def test_commas_stay_where_they_group_thousands(table):
  assert columns(table('a,b\n"1,234",x\n"12,345",y\n'))['a'] == [
    '1,234',
    '12,345',
  ]
  assert columns(table('a,b\n"1,25",x\n"12,345",y\n'))['a'] == [
    '1.25',
    '12.345',
  ]


def test_semicolons_in_cells_of_a_comma_file(table):
  path = table('id,findings\n1,a;b;c\n2,d\n3,a;c\n')
  assert columns(path)['findings'] == ['a;b;c', 'd', 'a;c']


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16'])
def test_marks_of_encodings(table, encoding):
  rows = read_rows(table('größe\tb\n1\t2\n', encoding=encoding))
  assert rows.names == ('größe', 'b')
  assert rows.remarks == ()


def test_tabs_hold_single_quotes(table):
  path = table('a\tb\n"Hello" he said, \t1\nplain; or not\t2\n', 'x.tsv')
  assert columns(path)['a'] == ['"Hello" he said,', 'plain; or not']


def test_long_cells(table):
  text = 'x' * 200_000
  assert columns(table(f'a,b\n{text},1\n'))['a'] == [text]


def test_the_index_of_pandas_is_left_out(table):
  for head in (',a,b', 'Unnamed: 0,a,b'):
    rows = read_rows(table(f'{head}\n0,x,1\n1,y,2\n'))
    assert rows.names == ('a', 'b')
    assert 'row names' in rows.remarks[0]


def test_row_names_of_r_are_left_out(table):
  path = table(
    '"mpg" "cyl"\n'.replace(' ', '\t') + '"Mazda"\t21\t6\n"VW"\t30\t4'
  )
  assert columns(path) == {'mpg': ['21', '30'], 'cyl': ['6', '4']}
  assert columns(table('"","mpg"\n"Mazda",21\n"VW",NA\n')) == {
    'mpg': ['21', 'NA']
  }


def test_marks_at_the_ends_of_lines(table):
  assert columns(table('a;b\n1;2;\n3;4;\n')) == {
    'a': ['1', '3'],
    'b': ['2', '4'],
  }
  assert columns(table('a;b;\n1;2;\n3;4;\n')) == {
    'a': ['1', '3'],
    'b': ['2', '4'],
  }


def test_what_is_wrong_with_a_text_is_said(table):
  assert 'line 4 has 3 cells between commas, and the first line names 2' in (
    message(table('a,b\n1,2\n\n1,2,3\n'))
  )
  assert 'line 3: a quote' in message(table('a,b\n1,2\n1,"2\n3,4\n'))
  assert 'line 2: a quote' in message(table('a,b\n1,"a" b"\n3,4\n'))
  assert "2 columns are called 'a'" in message(table('a,b,a\n1,2,3\n'))
  assert "line 1 has numbers, such as '5.1'" in (
    message(table('5.1,3.5,setosa\n4.9,3.0,setosa\n'))
  )
  assert 'column 2 of 3 has no name' in message(table('a,,b\n1,2,3\n'))
  assert 'has no rows' in message(table('a,b\n'))
  assert 'is empty' in message(table('\n'))
  assert 'is no text' in message(table(b'PK\x03\x04\x00\x00'))
  assert 'no format that is read' in message(table('', 'a.xlsx'))
  with pytest.raises(FileNotFoundError, match='no table'):
    read_rows('/nowhere/a.csv')


def test_lines_of_json(table):
  lines = [
    {'a': 1, 'b': {'c': 'x', 'd': [1, 2]}},
    {'a': float('nan'), 'e': True},
    {'e': '', 'b': {'c': None}},
  ]
  text = '\n\n'.join(map(json.dumps, lines))
  rows = read_rows(table(text, 'people.jsonl', 'utf-8-sig'))
  assert rows.columns == {
    'a': [1, None, None],
    'b.c': ['x', None, None],
    'b.d': [[1, 2], None, None],
    'e': [None, True, None],
  }
  assert rows.names == ('a', 'b.c', 'b.d', 'e')
  assert rows.place(2).endswith('line 5')


def test_what_is_wrong_with_lines_of_json_is_said(table):
  name = 'people.ndjson'
  assert 'line 2 is [1], and should be an object' in message(
    table('{"a": 1}\n[1]\n', name)
  )
  assert 'line 2 is no JSON' in message(table('{"a": 1}\n{"a": \n', name))
  assert 'line 2 is no UTF-8' in message(
    table(b'{"a": 1}\n{"a": "\xe4"}', name)
  )
  assert "line 1 has 'a.b' twice" in message(
    table('{"a.b": 1, "a": {"b": 1}}', name)
  )
  assert 'has no rows' in message(table('\n', name))


def test_parquet(tmp_path):
  path = tmp_path / 'people.parquet'
  day = datetime.date(2024, 2, 29)
  moment = datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.UTC)
  pyarrow.parquet.write_table(
    pyarrow.table(
      {
        'age': pyarrow.array([1, None], pyarrow.int16()),
        'size': pyarrow.array([np.nan, 2.5], from_pandas=False),
        'sex': pyarrow.array(['f', 'm']).dictionary_encode(),
        'day': [day, None],
        'moment': pyarrow.array([moment, None], pyarrow.timestamp('ns', 'UTC')),
        'labels': [['a', 'b'], None],
        'well': [True, False],
        'image': [{'bytes': b'1', 'path': 'a.png'}, {'bytes': b'', 'path': ''}],
        '__index_level_0__': [5, 6],
      }
    ),
    path,
  )
  rows = read_rows(path)
  assert rows.columns == {
    'age': [1, None],
    'size': [None, 2.5],
    'sex': ['f', 'm'],
    'day': ['2024-02-29', None],
    'moment': ['2024-02-29T12:30:00+00:00', None],
    'labels': [['a', 'b'], None],
    'well': [True, False],
    'image.path': ['a.png', None],
  }
  assert rows.remarks == (
    "column 'image.bytes' of binary is left out",
    'the index of pandas is left out',
  )
  assert rows.place(1) == f'{path}, row 2'


def test_decimals_of_parquet(tmp_path):
  path = tmp_path / 'a.pq'
  cells = pyarrow.array([decimal.Decimal('1.25'), None])
  pyarrow.parquet.write_table(pyarrow.table({'a': cells}), path)
  assert columns(path) == {'a': [1.25, None]}


def test_what_is_no_parquet_is_said(table):
  assert 'no parquet file' in message(table('a,b\n', 'a.parquet'))


def test_a_hundred_thousand_rows_take_no_long(table):
  line = ','.join(['3.14159', 'a word'] * 5)
  path = table('a,b,c,d,e,f,g,h,i,j\n' + f'{line}\n' * 100_000)
  begin = time.process_time()
  assert read_rows(path).num_rows == 100_000
  assert time.process_time() - begin < 5.0  # About 0.7 s.
