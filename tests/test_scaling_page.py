"""docs/scaling.md says what is computed now."""

import pathlib

import pytest

from docs.scaling_text import HEAD, NOTES
from tests.simulated_devices import run_script

PAGE = pathlib.Path(__file__).parent.parent / 'docs' / 'scaling.md'
SCRIPT = """
from docs import make_scaling

costs = make_scaling.costs_of('imagenet_io', 'fourier')
for rows in (make_scaling.state_rows, make_scaling.example_rows):
  print(*rows(costs), sep='\\n')
"""


def test_words_are_those_of_the_generator():
  page = PAGE.read_text()
  assert page.startswith(HEAD)
  for part in NOTES.split('{')[1:]:
    name, _, words = part.partition('}')
    assert words in page, f'after the table {name!r}'


@pytest.mark.slow
def test_lines_of_a_config_are_computed_as_printed():
  result = run_script(SCRIPT, 32)
  lines = result.stdout.splitlines()
  assert len(lines) == 1 + 3, result.stderr
  page = PAGE.read_text().splitlines()
  assert [line for line in lines if line not in page] == []
