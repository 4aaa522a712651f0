"""Text is UTF-8, whatever the locale: wherever a file is opened, it says so."""

import ast
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
# Not of the `open` that gives lines of text.
OTHER_OPENS = {'PIL.Image.open', 'av.open', 'os.open', 'wave.open'}
UTF_8 = {"'utf-8'", "'utf-8-sig'"}


def is_text(call, place):
  """Whether a mode, the argument at a place, is that of a text."""
  modes = [key.value for key in call.keywords if key.arg == 'mode']
  modes += call.args[place : place + 1]
  return not modes or 'b' not in ast.unparse(modes[0]).strip('\'"')


def lacks_encoding(call):
  """Whether a call reads or writes text in an encoding of the locale."""
  name = ast.unparse(call.func)
  given = {key.arg for key in call.keywords}
  if 'encoding' in given or UTF_8 & set(map(ast.unparse, call.args)):
    return False
  match name.rpartition('.')[2]:
    case 'read_text':  # Of a path, not a function of ours.
      return '.' in name and not call.args
    case 'write_text':
      return True
    case 'open' if name in ('open', 'io.open'):
      return is_text(call, 1)
    case 'fdopen':
      return is_text(call, 1)
    case 'open' if name not in OTHER_OPENS:
      return is_text(call, 0)
    case 'run' | 'Popen' | 'check_output':
      return bool({'text', 'universal_newlines'} & given)
  return False


@pytest.mark.parametrize(
  ('line', 'lacks'),
  [
    ('path.read_text()', True),
    ("path.read_text(errors='replace')", True),
    ("path.read_text('utf-8')", False),
    ("path.read_text(encoding='utf-8')", False),
    ("path.write_text(text + '\\n')", True),
    ('open(path)', True),
    ("open(path, 'a')", True),
    ("open(path, 'rb')", False),
    ("open(path, mode='wb')", False),
    ("path.open('x')", True),
    ("path.open('rb')", False),
    ("path.open('w', encoding='utf-8')", False),
    ("os.fdopen(number, 'w')", True),
    ('subprocess.run(command, text=True)', True),
    ("subprocess.run(command, encoding='utf-8')", False),
    ('PIL.Image.open(path)', False),
  ],
)
def test_what_lacks_an_encoding_is_found(line, lacks):
  assert lacks_encoding(ast.parse(line).body[0].value) == lacks


def test_all_text_has_an_encoding():
  places = ('perceiver_jax', 'experiments', 'docs')
  files = [file for place in places for file in (ROOT / place).rglob('*.py')]
  found = [
    f'{file.relative_to(ROOT)}:{call.lineno}: {ast.unparse(call)}'
    for file in [*files, ROOT / 'setup.py']
    for call in ast.walk(ast.parse(file.read_text(encoding='utf-8')))
    if isinstance(call, ast.Call) and lacks_encoding(call)
  ]
  assert len(files) > 200
  assert not found


@pytest.mark.slow
def test_commands_in_a_locale_that_knows_ascii_alone(tmp_path):
  texts = tmp_path / 'texts'
  texts.mkdir()
  for split in ('train', 'test'):
    lines = (
      f'grün\tdas ist grün — → {i}\nrot\tdas rote {i}\n' for i in range(6)
    )
    (texts / f'{split}.tsv').write_text(''.join(lines), encoding='utf-8')

  def run(command, *arguments):
    result = subprocess.run(
      [
        *(sys.executable, '-X', 'warn_default_encoding'),
        *('-m', f'experiments.{command}', f'--workdir={tmp_path / "run"}'),
        *arguments,
      ],
      cwd=ROOT,
      env=os.environ
      | {
        **{'LC_ALL': 'C', 'PYTHONUTF8': '0', 'JAX_PLATFORMS': 'cpu'},
        'PYTHONWARNINGS': 'default::EncodingWarning',
      },
      capture_output=True,
      check=False,
    )
    told = result.stderr.decode()
    assert result.returncode == 0, told
    # Of ours, that is; and Grain's threads warn from Python's own files.
    ours = [str(ROOT / name) for name in ('experiments', 'perceiver_jax')]
    for line in told.splitlines():
      assert 'EncodingWarning' not in line or not line.startswith((*ours,)), (
        line
      )
    return result.stdout.decode()

  run(
    'train',
    '--config=experiments/configs/folder.py:text',
    f'--config.data.root={texts}',
    *('--config.train_steps=2', '--config.log_every=1'),
    *('--config.eval_every=2', '--config.checkpoint_every=2'),
    *('--config.batch_size=4', '--config.report.seconds=0'),
  )
  run('report')
  report = (tmp_path / 'run' / 'report.html').read_text(encoding='utf-8')
  assert 'grün' in report and 'das ist grün — →' in report
  assert 'sehr grün → hier\n' in run('predict', '--text=sehr grün → hier')
  run('evaluate')
  run('export')
  classes = tmp_path / 'run' / 'export' / 'classes.txt'
  assert classes.read_text(encoding='utf-8') == 'grün\nrot\n'
