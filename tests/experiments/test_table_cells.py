"""Numbers, lists and dates in cells."""

import datetime
import math

import pytest

from experiments.table.cells import (
  date_order,
  is_empty,
  to_date,
  to_list,
  to_number,
)


@pytest.mark.parametrize(
  'cell',
  [None, math.nan, '', ' ', 'NA', 'N/A', 'nan', 'null', 'None', '-', '?'],
)
def test_empty_cells(cell):
  assert is_empty(cell)
  assert to_number(cell) is to_list(cell) is to_date(cell) is None


@pytest.mark.parametrize('cell', [0, 0.0, False, [], 'none', 'no', '0'])
def test_cells_that_say_something(cell):
  assert not is_empty(cell)


@pytest.mark.parametrize(
  ('cell', 'value'),
  [
    (3, 3.0),
    (True, 1.0),
    (' -1.5e3 ', -1500.0),
    ('+.5', 0.5),
    ('5.', 5.0),
    ('1,234', 1234.0),
    ('1,234,567.5', 1234567.5),
    ("1'234.5", 1234.5),
    ('1\u202f234', 1234.0),
    ('45 %', 45.0),
    ('\u22122', -2.0),
  ],
)
def test_numbers(cell, value):
  assert to_number(cell) == value


@pytest.mark.parametrize(
  'cell',
  ['a', '1_000', '0x10', 'inf', '1,23', '1 23', '12,34.5', [1], '<5'],
)
def test_what_is_no_number(cell):
  with pytest.raises(ValueError, match='is no number'):
    to_number(cell)


def test_infinity_is_no_number():
  with pytest.raises(ValueError, match='is no number'):
    to_number(math.inf)


@pytest.mark.parametrize(
  ('cell', 'elements'),
  [
    ([1, 'a'], [1, 'a']),
    ([], []),
    ('[]', []),
    ('["a", " b"]', ['a', 'b']),
    ("['a', 'it''s']", ['a', 'its']),
    ('[1, 2.5]', [1, 2.5]),
    ('[1.  2.5\n 3. ]', [1.0, 2.5, 3.0]),
    ('a|b; c|', ['a', 'b; c']),
    (' a ; b', ['a', 'b']),
    ('a, b', ['a, b']),
    (7, [7]),
  ],
)
def test_lists(cell, elements):
  assert to_list(cell) == elements


@pytest.mark.parametrize('cell', ['[a, b]', '[1, 2', [None], [[1]], '[{}]'])
def test_what_is_no_list(cell):
  with pytest.raises(
    ValueError, match=r'is no list|neither a text nor a number'
  ):
    to_list(cell)


def days(*parts, zone=datetime.UTC):
  """Seconds of Python's own calendar, over those of a day."""
  return datetime.datetime(*parts, tzinfo=zone).timestamp() / 86400


EAST = datetime.timezone(datetime.timedelta(hours=2))


@pytest.mark.parametrize(
  ('cell', 'expected'),
  [
    ('1970-01-01', 0.0),
    ('1969-12-31T12:00', -0.5),
    ('2024-02', days(2024, 2, 1)),
    ('2024-02-29', days(2024, 2, 29)),
    ('2024-02-29 06:30:15.25', days(2024, 2, 29, 6, 30, 15, 250_000)),
    ('2024-02-29T06:30Z', days(2024, 2, 29, 6, 30)),
    ('2024-02-29 06:30 UTC', days(2024, 2, 29, 6, 30)),
    ('2024-02-29T06:30:00+02:00', days(2024, 2, 29, 6, 30, zone=EAST)),
    ('2024/2/29', days(2024, 2, 29)),
    ('9.2.2024', days(2024, 2, 9)),
    ('09.02.2024 17:05', days(2024, 2, 9, 17, 5)),
    ('2/9/2024', days(2024, 2, 9)),
    ('2/9/2024 12:05:00 AM', days(2024, 2, 9, 0, 5)),
    ('2/9/2024, 1:05 p.m.', days(2024, 2, 9, 13, 5)),
  ],
)
def test_dates(cell, expected):
  assert to_date(cell) == pytest.approx(expected, abs=1e-9)


def test_the_day_may_stand_first():
  assert to_date('2/9/2024', day_first=True) == days(2024, 9, 2)
  assert to_date('02-09-2024', day_first=True) == days(2024, 9, 2)
  # A point tells by itself.
  assert to_date('02.09.2024') == days(2024, 9, 2)


@pytest.mark.parametrize(
  'cell',
  [
    *('2024-02-30', '30.02.2024', '13/13/2024', '1.2.24', 'soon', '20240229'),
    *('2024', 2024, '1.2.2024 25:00', '1.2.2024 13:00 PM', '1.2.2024 noon'),
  ],
)
def test_what_is_no_date(cell):
  with pytest.raises(ValueError, match='is no date'):
    to_date(cell)


def test_the_order_of_dates_is_that_which_fits():
  assert date_order(['1/2/2024', '13/2/2024']) == (True, '')
  assert date_order(['1/2/2024', '2/13/2024', None, 7]) == (False, '')
  assert date_order(['2/2/2024', '2024-01-02', '1.2.2024']) == (False, '')


def test_an_order_that_nothing_tells_is_said():
  order = date_order(['1/2/2024', '3-4-2024'])
  assert not order.day_first
  assert '3-4-2024 are read with the month first' in order.remark


def test_two_orders_in_a_column_are_an_error():
  with pytest.raises(ValueError, match="'13/2/2024' has the day first and"):
    date_order(['13/2/2024', '2/14/2024'])
