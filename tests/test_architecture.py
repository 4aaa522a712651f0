"""Who may import whom, read from the source: data flows one way.

A room is a folder. Rooms stand on levels; a file imports from its own room and
from rooms of lower levels, and nothing else of ours.
"""

import ast
import graphlib
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = ('perceiver_jax', 'experiments')
MAX_LINES = 400

# From the ground up; rooms of one level do not know each other. A name without
# its own line here stands with the room around it.
LEVELS = (
  ('perceiver_jax',),
  (
    'experiments/baselines',
    'experiments/configs',
    'experiments/host',
    'experiments/launch',
    'experiments/pages',
  ),
  ('experiments/data', 'experiments/stepping'),
  ('experiments/checkpointing', 'experiments/files'),
  ('experiments/table',),
  # What a sense is.
  (
    'experiments/modalities/cells',
    'experiments/modalities/images',
    'experiments/modalities/points',
    'experiments/modalities/series',
    'experiments/modalities/sound',
    'experiments/modalities/text',
  ),
  # What others are made of.
  ('experiments/modalities/events', 'experiments/modalities/video'),
  ('experiments/modalities/frames',),
  ('experiments/modalities',),  # The list of senses.
  ('experiments/answers', 'experiments/datasets'),
  # What an answer is.
  (
    'experiments/answers/classes',
    'experiments/answers/embeddings',
    'experiments/answers/filled_text',
    'experiments/answers/flow',
    'experiments/answers/masks',
    'experiments/answers/rows',
    'experiments/answers/numbers',
    'experiments/datasets/flow',
  ),
  # With classes, or numbers, among the rest.
  (
    'experiments/answers/forecasts',
    'experiments/answers/judgements',
    'experiments/answers/reconstruction',
    'experiments/answers/sequences',
  ),
  ('experiments/datasets/examples', 'experiments/tasks/table'),
  ('experiments/tasks',),
  ('experiments/measuring', 'experiments/runs'),
  ('experiments/attention', 'experiments/compiling'),
  ('experiments/serving', 'experiments/watching'),
  ('experiments/reporting',),
  ('experiments/handing_on', 'experiments/sweeps'),
  ('experiments',),  # The commands.
)
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}

# Other people's packages that have few rooms only. (grain, orbax and the like
# never enter the library: see LIBRARY_MAY_IMPORT.)
ONLY_IN = {
  'absl': ['experiments', 'experiments/host', 'experiments/runs'],
  'apache_beam': ['experiments/datasets'],
  'array_record': ['experiments/datasets'],
  'av': ['experiments/files', 'experiments/modalities/video'],
  'cv2': [
    'experiments/datasets',
    'experiments/modalities',
    'experiments/pages',
  ],
  'etils': ['experiments/checkpointing', 'experiments/host'],
  'fsspec': ['experiments/host'],
  'grain': ['experiments/data'],
  'h11': ['experiments/serving'],
  'matplotlib': ['experiments/attention'],
  'orbax': ['experiments/checkpointing'],
  'PIL': ['experiments/modalities/images', 'experiments/pages'],
  'pyarrow': ['experiments/table'],
  'safetensors': ['experiments/handing_on'],
  'sklearn': ['experiments/data'],
  'starlette': ['experiments/serving'],
  'tensorboardX': ['experiments/watching'],
  'tensorflow_datasets': [
    'experiments/data',
    'experiments/datasets',
    'experiments/files',
    'experiments/modalities/video',
  ],
  'torch': ['experiments/baselines', 'experiments/handing_on'],
  'tqdm': ['experiments/host'],
  'transformers': ['experiments/baselines'],
  'trimesh': ['experiments/modalities/points'],
  'uvicorn': ['experiments/serving'],
  'wandb': ['experiments/watching'],
}
KINDS_OF_ANSWERS = 'experiments/answers/'
LIBRARY_MAY_IMPORT = {'chex', 'einops', 'haiku', 'jax', 'numpy', 'optax'}


def module_name(path: pathlib.Path) -> str:
  """'perceiver_jax/models/__init__.py' is 'perceiver_jax.models'."""
  parts = path.relative_to(ROOT).with_suffix('').parts
  return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


FILES = {
  module_name(path): path
  for package in PACKAGES
  for path in sorted((ROOT / package).rglob('*.py'))
}
TREES = {name: ast.parse(path.read_text()) for name, path in FILES.items()}


def room_of(path: pathlib.Path) -> str:
  """The innermost folder of a file that has a level."""
  folder = path.parent.relative_to(ROOT)
  while folder.as_posix() not in LEVEL:
    folder = folder.parent
  return folder.as_posix()


ROOMS = {name: room_of(path) for name, path in FILES.items()}


def imports_of(tree: ast.AST, modules: set[str]) -> set[str]:
  """All that is imported anywhere in a file, functions included.

  Args:
    tree: of the file.
    modules: ours. `from a import b` imports a.b where that is one, else a.
  """
  found = set()
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      found.update(alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
      assert node.level == 0, f'line {node.lineno}: imports are absolute'
      for alias in node.names:
        inner = f'{node.module}.{alias.name}'
        found.add(inner if inner in modules else node.module)
  return found


IMPORTS = {name: imports_of(tree, set(FILES)) for name, tree in TREES.items()}


def ours(names: set[str]) -> set[str]:
  return {name for name in names if name.split('.')[0] in PACKAGES}


def packages(names: set[str]) -> set[str]:
  """Top-level names of other people's packages."""
  tops = {name.split('.')[0] for name in names}
  return tops - set(sys.stdlib_module_names) - set(PACKAGES)


def in_package(package: str) -> list[str]:
  return [name for name in FILES if f'{name}.'.startswith(f'{package}.')]


def test_imports_are_found_wherever_they_stand():
  tree = ast.parse(
    'import a.b as c\n'
    'from d import e, f\n'
    'def g():\n'
    '  from h.i import j\n'
    '  if c:\n'
    '    import k\n'
  )
  assert imports_of(tree, {'d.e', 'h.i'}) == {'a.b', 'd.e', 'd', 'h.i', 'k'}


def breach(room: str, imported: str, levels: dict[str, int]) -> bool:
  """Whether a file of a room must not import from another one."""
  return room != imported and levels[imported] >= levels[room]


def test_a_breach_is_found():
  levels = {'ground': 0, 'left': 1, 'right': 1, 'roof': 2}
  allowed = {
    (room, other)
    for room in levels
    for other in levels
    if not breach(room, other, levels)
  }
  assert allowed == {
    ('ground', 'ground'),
    ('left', 'left'),
    ('left', 'ground'),
    ('right', 'right'),
    ('right', 'ground'),
    ('roof', 'roof'),
    ('roof', 'left'),
    ('roof', 'right'),
    ('roof', 'ground'),
  }


def test_every_room_has_files_and_every_folder_a_room():
  assert set(ROOMS.values()) == set(LEVEL)
  folders = {
    path.parent.relative_to(ROOT).as_posix() for path in FILES.values()
  }
  inner = {'perceiver_jax/kernels', 'perceiver_jax/models'}
  assert folders - inner == set(LEVEL)


@pytest.mark.parametrize('name', list(FILES))
def test_a_file_imports_from_lower_rooms_only(name):
  room = ROOMS[name]
  above = {
    each for each in ours(IMPORTS[name]) if breach(room, ROOMS[each], LEVEL)
  }
  assert not above, f'{name}, in {room}, imports upwards'


@pytest.mark.parametrize('name', in_package('experiments'))
def test_tasks_alone_know_the_kinds_of_answers(name):
  # All else asks the record, so that a kind may come from outside.
  if not ROOMS[name].startswith(('experiments/answers', 'experiments/tasks')):
    rooms = {ROOMS[each] for each in ours(IMPORTS[name])}
    assert not [each for each in rooms if each.startswith(KINDS_OF_ANSWERS)]


def test_nothing_imports_in_a_circle():
  graph = {name: ours(imported) for name, imported in IMPORTS.items()}
  try:
    graphlib.TopologicalSorter(graph).prepare()
  except graphlib.CycleError as error:
    pytest.fail(f'{" -> ".join(error.args[1])}')


def test_all_modules_live_in_one_process():
  # A flag that two commands define is an error only then.
  script = '\n'.join(f'import {name}' for name in sorted(FILES))
  result = subprocess.run(
    [sys.executable, '-c', script], capture_output=True, text=True, check=False
  )
  assert result.returncode == 0, result.stderr


@pytest.mark.parametrize('name', in_package('perceiver_jax'))
def test_the_library_knows_no_runner_and_no_data(name):
  imported = IMPORTS[name]
  assert packages(imported) <= LIBRARY_MAY_IMPORT
  assert 'experiments' not in {each.split('.')[0] for each in ours(imported)}


@pytest.mark.parametrize('name', in_package('experiments.configs'))
def test_configs_import_only_config_dicts(name):
  assert packages(IMPORTS[name]) <= {'ml_collections'}
  # Published models are values, too.
  others = ours(IMPORTS[name]) - set(in_package('experiments.configs'))
  assert others <= {'perceiver_jax.published'}


def outermost(room: str, allowed: list[str]) -> str:
  """The allowed room that a room is, or lies in; else the room itself."""
  around = [
    each
    for each in allowed
    # Everything lies in `experiments`: as a room it is that of the commands.
    if room == each or (each != 'experiments' and room.startswith(f'{each}/'))
  ]
  return around[0] if around else room


@pytest.mark.parametrize('package', list(ONLY_IN))
def test_a_foreign_package_stays_in_its_room(package):
  rooms = {ROOMS[name] for name in FILES if package in packages(IMPORTS[name])}
  allowed = ONLY_IN[package]
  assert {outermost(room, allowed) for room in rooms} == set(allowed)


def test_nothing_of_ours_imports_the_tests():
  for name, imported in IMPORTS.items():
    assert 'tests' not in {each.split('.')[0] for each in imported}, name


def test_pmap_is_known_to_one_file():
  users = {
    name
    for name, tree in TREES.items()
    for node in ast.walk(tree)
    if (isinstance(node, ast.Attribute) and node.attr == 'pmap')
    or (isinstance(node, ast.alias) and node.name == 'pmap')
  }
  assert users == {'experiments.stepping.replicated'}


def module_level(tree: ast.Module) -> ast.Module:
  """A copy without the bodies of functions, which run only when called."""

  class Strip(ast.NodeTransformer):
    def visit_FunctionDef(self, node):
      return ast.Pass()

    visit_AsyncFunctionDef = visit_FunctionDef

  return Strip().visit(ast.parse(ast.unparse(tree)))


def test_module_level_is_told_from_the_inside_of_functions():
  tree = ast.parse(
    'try:\n  import a\nexcept ImportError:\n  pass\n'
    'class C:\n  import b\n  def f(self):\n    import c\n'
    'def g():\n  import d\n'
  )
  assert imports_of(module_level(tree), set()) == {'a', 'b'}


def test_tensorflow_is_never_imported_with_a_module():
  # TFDS imports it itself when a data set is prepared that needs it.
  files = [*FILES.values(), *sorted((ROOT / 'tests').rglob('*.py'))]
  assert len(files) > len(FILES) + 5
  for path in files:
    tree = module_level(ast.parse(path.read_text()))
    assert 'tensorflow' not in packages(imports_of(tree, set())), path


def public_without_docstring(body: list[ast.stmt], prefix: str) -> list[str]:
  """Public functions, classes and their public methods that say nothing."""
  silent = []
  for node in body:
    if not isinstance(
      node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    ) or node.name.startswith('_'):
      continue
    name = f'{prefix}.{node.name}'
    if ast.get_docstring(node) is None:
      silent.append(name)
    if isinstance(node, ast.ClassDef):
      silent += public_without_docstring(node.body, name)
  return silent


def test_missing_docstrings_are_found():
  tree = ast.parse(
    'def a():\n  pass\n'
    'class B:\n  """Says."""\n  def c(self):\n    pass\n  def _d(self):\n'
    '    pass\n'
    'def _e():\n  pass\n'
  )
  assert public_without_docstring(tree.body, 'm') == ['m.a', 'm.B.c']


@pytest.mark.parametrize('name', list(FILES))
def test_everything_public_has_a_docstring(name):
  assert ast.get_docstring(TREES[name])
  assert public_without_docstring(TREES[name].body, name) == []


@pytest.mark.parametrize('name', list(FILES))
def test_files_are_short(name):
  assert len(FILES[name].read_text().splitlines()) <= MAX_LINES


def test_there_is_no_utils():
  # A module is named by its job.
  assert not [n for n in FILES if n.split('.')[-1] in ('utils', 'helpers')]
