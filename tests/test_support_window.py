"""The releases that the project is for, and how it keeps to them."""

import pathlib
import runpy
import subprocess
import sys

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
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


@pytest.fixture
def asked(monkeypatch):
  """What setup.py asks for: lists of requirements by extra; '' is without."""
  given = {}
  monkeypatch.setattr(setuptools, 'setup', lambda **words: given.update(words))
  monkeypatch.chdir(ROOT)
  runpy.run_path('setup.py')
  named = {'': given['install_requires'], **given['extras_require']}
  return {extra: list(map(Requirement, named[extra])) for extra in named}


def lower_bounds(asked):
  """The oldest releases that setup.py admits."""
  return {
    requirement.name: Version(bound.version)
    for requirement in asked['']
    for bound in requirement.specifier
    if bound.operator == '>='
  }


def test_the_oldest_releases_are_those_of_setup(asked):
  lines = (ROOT / 'requirements-oldest.txt').read_text().splitlines()
  pins = [Requirement(line) for line in lines if line[:1] != '#']
  oldest = lower_bounds(asked)
  oldest['jaxlib'] = oldest['jax']  # Of the same version, by jax itself.
  for pin in pins:
    (bound,) = pin.specifier
    assert (
      bound.operator == '==' and Version(bound.version) == (oldest[pin.name])
    ), pin


@pytest.mark.parametrize('python', ['3.11', '3.12', '3.13', '3.14'])
def test_one_release_of_each_package_is_pinned_for_each_python(asked, python):
  lines = (ROOT / 'requirements.txt').read_text().splitlines()
  pins = [Requirement(line) for line in lines if line[:1] != '#']
  here = {'python_version': python, 'python_full_version': f'{python}.0'}
  pinned = {}
  for pin in pins:
    if pin.marker is None or pin.marker.evaluate(here):
      (bound,) = pin.specifier
      assert bound.operator == '=='
      assert canonicalize_name(pin.name) not in pinned, pin
      pinned[canonicalize_name(pin.name)] = bound.version
  for requirement in (*asked[''], *asked['dev']):
    version = pinned.get(canonicalize_name(requirement.name))
    assert version and requirement.specifier.contains(version), (
      f'setup.py asks for {requirement}, requirements.txt has {version}: run '
      '`make requirements`.'
    )
