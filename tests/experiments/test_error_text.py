"""Errors as one line."""

from experiments.host.error_text import one_line


def test_errors_are_one_short_line():
  assert one_line(ValueError('a\n  b.')) == 'a b'
  assert one_line(KeyError('label')) == "KeyError: 'label'"
  assert one_line(ValueError()) == 'no more is known'
  missing = FileNotFoundError(2, 'No such file', 'x.png')
  assert one_line(missing) == "[Errno 2] No such file: 'x.png'"
  assert len(one_line(ValueError('x' * 1000))) < 310


def test_what_says_nothing_is_taken_out():
  error = ValueError('READ:\n x in detail.')
  assert one_line(error, lambda text: text.replace(' in detail', '')) == (
    'READ: x'
  )
