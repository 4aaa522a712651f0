"""Columns that a person names."""

import pytest

from experiments.table.asked import Asked, check_columns, parse_columns


def test_columns_with_kinds_and_arguments():
  assert parse_columns(
    'xray:images,ecg : series, Age (years),load:forecast(24, quantiles),'
    'seg:mask(scan, classes=3)'
  ) == [
    Asked('xray', 'images', {}),
    Asked('ecg', 'series', {}),
    Asked('Age (years)', None, {}),
    Asked('load', 'forecast', {'': '24,quantiles'}),
    Asked('seg', 'mask', {'': 'scan', 'classes': '3'}),
  ]


def test_quoted_names_and_values():
  assert parse_columns('"a,b:c (""d"")":text , x:list(by="),(", n=1)') == [
    Asked('a,b:c ("d")', 'text', {}),
    Asked('x', 'list', {'by': '),(', 'n': '1'}),
  ]


def test_an_empty_list_and_a_last_comma():
  assert parse_columns('  ') == []
  assert parse_columns('a, ') == [Asked('a', None, {})]


@pytest.mark.parametrize(
  ('text', 'what'),
  [
    ('a,,b', "',b' should be name"),
    ('a:', "'a:' should be name"),
    ('a:b:c', "'a:b:c' should be name"),
    (':text', "':text' should be name"),
    ('a:text(1', "'a:text(1' should be name"),
    ('"a:text', 'should be name'),
    ('a,b:text,a:number', "names the column 'a' twice"),
    ('a:mask(k=1,k=2)', "the arguments (k=1,k=2) of 'a'"),
    ('a:mask(k=)', "the arguments (k=) of 'a'"),
  ],
)
def test_what_is_no_list_of_columns(text, what):
  with pytest.raises(ValueError) as error:
    parse_columns(text, 'data.answers')
  assert what in str(error.value)
  assert str(error.value).startswith('data.answers')


def check(inputs, answers):
  check_columns(
    parse_columns(inputs), parse_columns(answers), ['age', 'risk', 'load']
  )


def test_columns_that_a_table_has():
  check('age', 'risk')
  check('age,load', 'load:forecast(24)')


def test_columns_that_a_table_has_not():
  with pytest.raises(
    ValueError, match=r"data.inputs: .*'agee'; did you mean 'age"
  ):
    check('agee', 'risk')
  with pytest.raises(
    ValueError, match=r"data.answers: .* It has 'age', 'risk'"
  ):
    check('age', 'zzz')


def test_an_answer_is_no_input():
  with pytest.raises(ValueError, match=r"'risk' is both in data.inputs and"):
    check('age,risk', 'risk:number')
