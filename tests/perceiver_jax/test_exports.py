"""What `perceiver_jax` exports: that and no more, typed and explained."""

import ast
import dataclasses
import inspect
import pathlib
import re
import subprocess
import sys
import textwrap
import types
import typing

import pytest

import perceiver_jax

ROOT = pathlib.Path(__file__).parents[2]
MODULES = ('huggingface', 'pretrained', 'published')
EXPORTED = {
  name: getattr(perceiver_jax, name)
  for name in perceiver_jax.__all__
  if name not in MODULES
}
FUNCTIONS = {
  f'{module}.{name}': function
  for module in MODULES
  for name, function in vars(getattr(perceiver_jax, module)).items()
  if inspect.isfunction(function)
  and function.__module__ == f'perceiver_jax.{module}'
  and not name.startswith('_')
}
PAPER = re.compile(r'[Ss]ections?\b|[Aa]ppendix|figure|table')

every = pytest.mark.parametrize('name', list(EXPORTED))
all_functions = pytest.mark.parametrize('name', [*EXPORTED, *FUNCTIONS])


def callables(name):
  """The thing itself, or how it is made and its public methods."""
  thing = (EXPORTED | FUNCTIONS)[name]
  if not inspect.isclass(thing):
    return {name: thing}
  return {
    f'{name}.{key}': value
    for key, value in vars(thing).items()
    if inspect.isfunction(value)
    and (key == '__call__' or not key.startswith('_'))
  }


def raises(function):
  """Whether it raises by itself."""
  source = textwrap.dedent(inspect.getsource(function))
  (definition,) = ast.parse(source).body
  return any(isinstance(node, ast.Raise) for node in ast.walk(definition))


def test_nothing_else_is_public():
  public = {
    name
    for name, value in vars(perceiver_jax).items()
    if not name.startswith('_') and not isinstance(value, types.ModuleType)
  }
  assert {*public, *MODULES} == set(perceiver_jax.__all__)


def test_the_reference_has_all_of_it():
  page = (ROOT / 'docs/api.md').read_text()
  found = re.findall(r'^::: perceiver_jax\.(\w+)$', page, re.M)
  assert sorted(found) == sorted(perceiver_jax.__all__)


def test_it_brings_nothing_but_jax_and_haiku():
  script = 'import sys, perceiver_jax; print(*sys.modules)'
  result = subprocess.run(
    [sys.executable, '-c', script], capture_output=True, text=True, check=True
  )
  loaded = {name.partition('.')[0] for name in result.stdout.split()}
  assert 'haiku' in loaded
  heavy = {'grain', 'orbax', 'tensorflow', 'tensorflow_datasets', 'cv2'}
  assert not loaded & (heavy | {'experiments', 'matplotlib', 'PIL'})


@every
def test_it_names_the_paper(name):
  assert PAPER.search(inspect.getdoc(EXPORTED[name])) or issubclass(
    EXPORTED[name], typing.Protocol
  )


@every
def test_fields_are_explained(name):
  thing = EXPORTED[name]
  fields = (
    [field.name for field in dataclasses.fields(thing)]
    if dataclasses.is_dataclass(thing)
    else getattr(thing, '_fields', [])
  )
  doc = inspect.getdoc(thing)
  for field in fields:
    assert re.search(rf'^ +{field}: \S', doc, re.M), field


@all_functions
def test_arguments_and_results_are_typed_and_have_shapes(name):
  for where, function in callables(name).items():
    signature = inspect.signature(function)
    for parameter in signature.parameters.values():
      typed = parameter.annotation is not inspect.Parameter.empty
      assert typed or parameter.name == 'self', f'{where}: {parameter}'
    assert signature.return_annotation is not inspect.Signature.empty, where
    doc = inspect.getdoc(function) or ''
    if where.endswith('__call__') and not issubclass(
      EXPORTED[name], typing.Protocol
    ):
      assert '`[' in doc or 'see' in doc, f'{where} tells no shape'


@all_functions
def test_errors_are_told(name):
  thing = (EXPORTED | FUNCTIONS)[name]
  for where, function in callables(name).items():
    if raises(function):
      assert 'Raises' in inspect.getdoc(function), where
  check = vars(thing).get('__post_init__') if inspect.isclass(thing) else None
  if check is not None and raises(check):
    assert 'Raises' in inspect.getdoc(thing)


def test_types_can_be_used_by_others():
  # See PEP 561: without it, type checkers ignore annotations of a package.
  assert (pathlib.Path(perceiver_jax.__file__).parent / 'py.typed').is_file()
