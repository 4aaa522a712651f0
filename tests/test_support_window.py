"""The releases that the project is for, and how it keeps to them."""

import ast
import pathlib
import subprocess
import sys

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = pathlib.Path(__file__).parent.parent

# jax warns of a name where it is asked for, and of an argument where it is
# looked at: there the warning is of a module of jax. The first module is what
# jax tests its own warnings with.
OURS = """
import jax
from jax._src.internal_test_util import deprecation_module


def name():
  return deprecation_module.y


def argument():
  return jax.nn.one_hot(1.0, 3)


def current():
  return jax.nn.one_hot(1, 3)
"""
TESTS = """
import perceiver_jax_of_before as ours


def test_name():
  ours.name()


def test_argument():
  ours.argument()


def test_current():
  ours.current()
"""


def test_deprecated_jax_api_fails_a_test(tmp_path):
  (tmp_path / 'perceiver_jax_of_before.py').write_text(OURS)
  tests = tmp_path / 'test_ours.py'
  tests.write_text(TESTS)
  result = subprocess.run(
    [
      *(sys.executable, '-m', 'pytest', '-p', 'no:cacheprovider'),
      f'--config-file={ROOT / "pyproject.toml"}',
      f'--rootdir={tmp_path}',
      str(tests),
    ],
    cwd=tmp_path,
    capture_output=True,
    text=True,
    check=False,
  )
  assert '2 failed, 1 passed' in result.stdout, result.stdout
  assert 'FAILED test_ours.py::test_name - DeprecationWarning' in result.stdout
  assert (
    'FAILED test_ours.py::test_argument - DeprecationWarning' in result.stdout
  )


def lower_bounds():
  """The oldest releases that setup.py admits."""
  tree = ast.parse((ROOT / 'setup.py').read_text())
  (asked,) = (
    ast.literal_eval(node.value)
    for node in ast.walk(tree)
    if isinstance(node, ast.keyword) and node.arg == 'install_requires'
  )
  return {
    requirement.name: Version(bound.version)
    for requirement in map(Requirement, asked)
    for bound in requirement.specifier
    if bound.operator == '>='
  }


def test_the_oldest_releases_are_those_of_setup():
  lines = (ROOT / 'requirements-oldest.txt').read_text().splitlines()
  pins = [Requirement(line) for line in lines if line[:1] != '#']
  oldest = lower_bounds()
  oldest['jaxlib'] = oldest['jax']  # Of the same version, by jax itself.
  for pin in pins:
    (bound,) = pin.specifier
    assert (
      bound.operator == '==' and Version(bound.version) == (oldest[pin.name])
    ), pin
