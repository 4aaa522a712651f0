"""Checks commands that documents tell to type; nothing is run."""

import ast
import functools
import importlib
import pathlib
import re
import shlex
from collections.abc import Iterator

import ml_collections
from absl import flags

from experiments.host.configuration import fill_defaults
from experiments.launch import local
from tests.documents import ROOT
from tests.test_architecture import FILES, IMPORTS

# What others make, and what shells have: taken as it is.
FOREIGN = {
  '.', 'cd', 'cp', 'curl', 'docker', 'done', 'export', 'for', 'gcloud', 'git',
  'jupyter', 'kubectl', 'mkdir', 'open', 'scancel', 'squeue', 'srun', 'ssh',
  'ssh-add', 'tail', 'tensorboard', 'tfds',
}  # fmt: skip
# Stands for something: PATH, NAME, HOST:PORT,COUNT,INDEX, MODEL.png, ...
_PLACEHOLDER = re.compile(r'[A-Z_]{2,}|\.\.\.')
_ASSIGNMENT = re.compile(r'^[A-Z_]+=')


def commands(code: str) -> Iterator[list[str]]:
  """Yields the words of each command of a block."""
  for line in code.replace('\\\n', ' ').splitlines():
    lexer = shlex.shlex(line, posix=True, punctuation_chars=';&|')
    lexer.whitespace_split, words = True, []
    for word in [*lexer, ';']:
      if set(word) <= set(';&|'):
        while words and (words[0] == 'do' or _ASSIGNMENT.match(words[0])):
          words = words[1:]
        if words:
          yield words
        words = []
      else:
        words.append(word)


def check(words: list[str]) -> None:
  """Raises an AssertionError or ValueError where a command is wrong.

  Of `python -m experiments.X` the module, its flags and their values, and the
  keys of configs; of other commands that files, targets and extras are there.

  Args:
    words: of the command.
  """
  program, *arguments = words
  program = pathlib.Path(program).name or program
  if program.startswith('python') and arguments[:1] == ['-m']:
    _check_module(arguments[1], arguments[2:])
  elif program.startswith('python'):
    name = pathlib.Path(arguments[0]).name
    assert list(ROOT.rglob(name)), f'There is no {name}.'
  elif program == 'make':
    makefile = (ROOT / 'Makefile').read_text()
    known = re.findall(r'^([\w-]+):', makefile, re.M)
    known += re.findall(r'^([A-Z]+ )[:?]=', makefile, re.M)
    given = {re.sub('=.*', ' ', word) for word in arguments}
    assert given <= set(known), f'{arguments}: targets are {known}.'
  elif program == 'pip':
    _check_pip(arguments)
  elif program in ('bash', 'sbatch', 'pytest', 'ruff'):
    for word in arguments[:1]:
      assert (ROOT / word).exists() or word in ('check', 'format'), word
    if '--' in arguments:
      _check_module('experiments.train', arguments[arguments.index('--') + 1 :])
  else:
    assert program in FOREIGN, f'{program} is not known: {words}.'


def _check_module(module: str, arguments: list[str]) -> None:
  if not module.startswith(('experiments', 'tests', 'docs')):
    assert module in ('venv', 'pip', 'uv'), module
    if arguments[:1] == ['pip']:
      _check_pip(arguments[1:])
    return
  file = ROOT / f'{module.replace(".", "/")}.py'
  assert module in FILES or file.is_file(), f'There is no {module}.'
  if module == local.__name__:
    mark = [*arguments, '--'].index('--')
    own, rest = arguments[:mark], arguments[mark + 1 :]
    names = {word.partition('=')[0] for word in own}
    assert names <= {f'--{name}' for name in _launch_options()}, own
    _check_module('experiments.train', rest)
  elif module in FILES:
    _check_flags(module, [x for x in arguments if x != '...'])


def _check_flags(module: str, arguments: list[str]) -> None:
  """Every flag is one of the command; its value is one that it takes."""
  known, config = _flags_of(module), None
  for argument in arguments:
    name, _, value = argument.lstrip('-').partition('=')
    if not argument.startswith('--'):
      continue
    if name.startswith('config.'):
      if config is not None:
        _check_value(config, name.removeprefix('config.'), value)
      continue
    if name not in known:
      name = name.removeprefix('no')
    assert name in known, f'{module} has no --{name}.'
    if name == 'config':
      config = None if _PLACEHOLDER.search(value) else load_config(value)
    elif value and not _PLACEHOLDER.search(value):
      known[name].parser.parse(value)


@functools.cache
def load_config(value: str) -> ml_collections.ConfigDict:
  """Returns the config of `experiments/configs/FILE.py[:VARIANT]`."""
  file, _, variant = value.partition(':')
  path = ROOT / file
  assert path.is_file(), f'There is no {file}.'
  module = importlib.import_module(file.removesuffix('.py').replace('/', '.'))
  config = module.get_config(*([variant] if variant else []))
  return fill_defaults(config)


def _check_value(
  config: ml_collections.ConfigDict, path: str, value: str
) -> None:
  """A config has this key, and what it is set to is of the same kind."""
  *sections, key = path.split('.')
  section = config
  for name in sections:
    assert name in section, f'{path}: there is no {name}.'
    section = section[name]
  # Which keys it has depends on its name, which the line gives, too.
  if path in ('parallelism.shards', 'parallelism.layer_by_layer'):
    return
  assert key in section, f'There is no config.{path}, but {sorted(section)}.'
  old = section[key]
  if old is None or isinstance(old, str) or _PLACEHOLDER.search(value):
    return
  new = ast.literal_eval(value)
  kinds = (int, float) if isinstance(old, float) else type(old)
  if not isinstance(old, tuple):
    assert isinstance(new, kinds), f'config.{path} = {value} is no {kinds}.'


@functools.cache
def _flags_of(module: str) -> dict[str, flags.Flag]:
  """Flags of a command: of every module that it consists of."""
  importlib.import_module(module)
  waiting, seen = [module], set()
  while waiting:
    each = waiting.pop()
    if each not in seen:
      seen.add(each)
      waiting += [x for x in IMPORTS.get(each, ()) if x in FILES]
  by_module = flags.FLAGS.flags_by_module_dict()
  found = {x.name: x for each in seen for x in by_module.get(each, ())}
  # Its parser is defined on behalf of the command line.
  return found | {'config': flags.FLAGS['config']}


def _launch_options() -> set[str]:
  source = pathlib.Path(local.__file__).read_text()
  return set(re.findall(r"add_argument\(\s*'--(\w+)'", source))


def _check_pip(arguments: list[str]) -> None:
  if arguments[:1] != ['install']:
    return
  for word, following in zip(arguments, [*arguments[1:], ''], strict=True):
    if word in ('-r', '--requirement'):
      assert (ROOT / following).is_file(), following
    if word.startswith('--constraint='):
      assert (ROOT / word.partition('=')[2]).is_file(), word
    if extras := re.fullmatch(r'\.\[([\w,]+)\]', word):
      source = (ROOT / 'setup.py').read_text()
      known = set(re.findall(r"^    '(\w+)': ", source, re.M))
      assert set(extras[1].split(',')) <= known, f'{word}: there is {known}.'
