"""The commands as a person meets them in a shell."""

import ast
import json
import pathlib
import shlex
import subprocess
import sys

import pytest

from experiments.__main__ import COMMANDS, first_line

ROOT = pathlib.Path(__file__).parents[2]
NAMES = [name for names in COMMANDS.values() for name in names]


def source(command):
  path = ROOT / 'experiments' / f'{command.replace(".", "/")}.py'
  return ast.parse(path.read_text())


def shell(command):
  return subprocess.run(
    ['bash', '-o', 'pipefail', '-c', command],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )


def run(*arguments, module=True):
  return subprocess.run(
    [sys.executable, *(['-m'] if module else []), *arguments],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )


def test_all_commands_are_listed():
  main = ast.parse("if __name__ == '__main__': pass").body[0].test
  found = []
  for path in (ROOT / 'experiments').rglob('*.py'):
    parts = path.relative_to(ROOT / 'experiments').with_suffix('').parts
    runs = any(
      isinstance(node, ast.If) and ast.dump(node.test) == ast.dump(main)
      for node in ast.parse(path.read_text()).body
    )
    # The loader of an export is copied out, and a command only there; others
    # are helper processes, and one that `launch.local` starts.
    not_for_people = {
      *(('__main__',), ('handing_on', 'load')),
      *(('handing_on', 'unpickling'), ('launch', 'attached')),
      ('runs', 'reading_apart'),
    }
    if runs and parts not in not_for_people:
      found.append('.'.join(parts))
  assert sorted(NAMES) == sorted(found)


def test_the_list_is_printed():
  result = run('experiments')
  assert result.returncode == 0, result.stderr
  for name in NAMES:
    assert f'python -m experiments.{name} ' in result.stdout
    assert first_line(name) in result.stdout


@pytest.mark.parametrize('name', NAMES)
def test_help_has_an_example(name):
  docstring = ast.get_docstring(source(name))
  summary, _, rest = docstring.partition('\n')
  assert summary.endswith('.') and len(summary) <= 80
  assert f'\n  python -m experiments.{name} ' in rest


@pytest.mark.parametrize('name', NAMES)
def test_no_module_imports_a_command(name):
  module = f'experiments.{name}'
  for path in (ROOT / 'experiments').rglob('*.py'):
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.ImportFrom):
        imported = {f'{node.module}.{alias.name}' for alias in node.names}
        assert node.module != module and module not in imported, path


def test_help_names_the_flags_that_a_command_has():
  result = run('experiments.predict', '--help')
  assert 'python -m experiments.predict --workdir=' in result.stdout
  for flag in ('--workdir', '--checkpoint', '--top', '--[no]json', '--save_to'):
    assert f'\n  {flag}: ' in result.stdout
  assert '--table' not in result.stdout


MISTAKES = {
  "Unknown command line flag 'worksdir'": ['--worksdir=x'],
  'flag --top=0': ['--top=0', 'x.png'],
  'There is no file nowhere.py. In ': ['--config=nowhere.py'],
  "The variants are ['perceiver'": [
    '--config=experiments/configs/digits.py:resnett'
  ],
  'There is no run in nowhere': ['--workdir=nowhere', 'x.png'],
  'Name files to look at': [],
}


@pytest.fixture(scope='module')
def mistakes():
  """What the command does with each; it is imported once, forked for each."""
  script = (
    'import json, os, sys\n'
    'from experiments import predict\n'
    'from experiments.host import command_line\n'
    'for arguments in json.loads(sys.argv[1]):\n'
    '  if not os.fork():\n'
    "    sys.argv = ['predict', *arguments]\n"
    '    command_line.run(predict.main, takes_files=True)\n'
    '  _, status = os.wait()\n'
    '  print(os.waitstatus_to_exitcode(status), file=sys.stderr, flush=True)\n'
  )
  return run('-c', script, json.dumps(list(MISTAKES.values())), module=False)


@pytest.mark.parametrize('message', MISTAKES)
def test_a_mistake_is_one_line(mistakes, message):
  assert mistakes.stdout == ''
  lines = mistakes.stderr.splitlines()
  number = list(MISTAKES).index(message)
  assert len(lines) == 2 * len(MISTAKES), mistakes.stderr
  line, code = lines[2 * number : 2 * number + 2]
  assert line.startswith('Error: ')
  assert message in line
  assert code == '2'


def test_debug_shows_where_it_comes_from():
  result = run('experiments.predict', '--debug', '--workdir=nowhere', 'x.png')
  assert 'Traceback' in result.stderr
  assert result.returncode == 1


def test_a_closed_pipe_is_no_error():
  result = shell(
    f'{shlex.quote(sys.executable)} -m experiments.describe '
    '--config=experiments/configs/digits.py | true'
  )
  assert result.stderr == ''
