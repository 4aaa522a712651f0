"""What a run left, changed or cut: one line that names it, exit code 2."""

import contextlib
import json
import os
import pathlib
import resource
import subprocess
import sys

import pytest

from experiments.checkpointing.checkpoints import Checkpoints
from experiments.configs import digits as digits_config
from experiments.host.buckets import write_whole
from experiments.host.configuration import (
  DamagedConfigError,
  fill_defaults,
  read_config,
  write_config,
)
from experiments.reporting.history import read_history
from experiments.runs.summary import describe_config_changes
from experiments.sweeps.rows import read_result
from experiments.watching.writers import MetricsWriter

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def values(tmp_path):
  write_config(fill_defaults(digits_config.get_config()), tmp_path)
  assert read_config(tmp_path).batch_size > 0
  return json.loads((tmp_path / 'config.json').read_text(encoding='utf-8'))


DAMAGES = {
  'empty': (b'', 'Expecting value'),
  'cut': (b'{"task": "cl', 'Unterminated string'),
  'other bytes': (b'\x81\xfe\x00', "can't decode byte"),
  'of a lost sector': (bytes(512), 'Expecting value'),
  'nested': (b'[' * 100_000, 'recursion'),
}
OTHERS = {
  'a list': (b'[1,2]', 'it holds a list'),
  'a number': (b'3', 'it holds a int'),
  'other things': (b'{"model": 3}', 'it lacks batch_size'),
}


@pytest.mark.parametrize('damage', [*DAMAGES, *OTHERS])
def test_a_config_that_is_none_is_named(tmp_path, values, damage):
  content, why = (DAMAGES | OTHERS)[damage]
  (tmp_path / 'config.json').write_bytes(content)
  with pytest.raises(ValueError) as error:
    read_config(tmp_path)
  message = str(error.value)
  is_damaged = damage in DAMAGES
  assert isinstance(error.value, DamagedConfigError) == is_damaged
  what = 'is damaged (' if is_damaged else 'is no config of a run ('
  assert message.startswith(f'{tmp_path}/config.json {what}')
  remedy = 'Name the experiment by --config' if is_damaged else 'Remove it'
  assert why in message and remedy in message and '\n' not in message


@pytest.mark.parametrize('damage', DAMAGES)
def test_a_damaged_config_is_made_anew(tmp_path, values, damage):
  config = fill_defaults(digits_config.get_config())
  assert describe_config_changes(config, tmp_path) == []
  (tmp_path / 'config.json').write_bytes(DAMAGES[damage][0])
  (line,) = describe_config_changes(config, tmp_path)
  assert line == 'config.json was damaged: it is now what --config says'
  write_config(config, tmp_path)
  assert json.loads((tmp_path / 'config.json').read_text()) == values


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path):
  path = tmp_path / 'config.json'
  write_whole(path, 'old')
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
  try:
    with pytest.raises(
      OSError, match=f'{path} cannot be written: File too large. Make room'
    ):
      write_whole(path, 'new' * 1000)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  assert path.read_text() == 'old'
  assert [each.name for each in tmp_path.iterdir()] == ['config.json']
  write_whole(path, b'\xff')
  assert path.read_bytes() == b'\xff'


@pytest.mark.parametrize('content', [b'', b'{"name": "x', b'[]', b'{"a": 1}'])
def test_a_damaged_result_of_a_row_is_made_anew(tmp_path, content):
  assert read_result(tmp_path) is None
  (tmp_path / 'result.json').write_bytes(content)
  assert read_result(tmp_path) is None


@pytest.mark.parametrize(
  ('key', 'value'), [('batch_size', 'x'), ('task', 3), ('optimizer', [1])]
)
def test_a_value_of_another_type_is_named(tmp_path, values, key, value):
  text = json.dumps(values | {key: value})
  (tmp_path / 'config.json').write_text(text, encoding='utf-8')
  with pytest.raises(ValueError, match=rf'config\.json .*config\.{key}'):
    read_config(tmp_path)


LINES = b'{"step": 1, "train/loss": 2.0}\n'
ODD_LINES = (
  b'{"step": 1, "train/loss": "x"}',
  b'{"step": "x"}',
  b'{"step": 1e400}',
  b'{"step": null}',
  b'[3]',
  b'\xff\xfe',
  b'[' * 100_000,
)


@pytest.mark.parametrize('line', ODD_LINES[1:])
def test_a_run_goes_on_only_with_lines_that_a_run_wrote(tmp_path, line):
  (tmp_path / 'metrics.jsonl').write_bytes(LINES + line + b'\n')
  with pytest.raises(
    ValueError, match=r'metrics\.jsonl has a line that no run'
  ):
    MetricsWriter(tmp_path, 1, active=True)


def test_a_report_leaves_odd_lines_out(tmp_path):
  lines = [LINES.strip(), *ODD_LINES[1:], b'{"step": 2, "train/loss": 1e400}']
  lines.append(b'{"step": 3, "train/loss": %d}' % 10**400)
  (tmp_path / 'metrics.jsonl').write_bytes(b'\n'.join(lines) + b'\n')
  history = read_history(tmp_path)
  assert history.rows == [
    {'step': 1, 'train/loss': 2.0},
    {'step': 2, 'train/loss': None},
    {'step': 3, 'train/loss': None},
  ]


@pytest.mark.parametrize('step', ['²', '٢', '-1', '1.0', '', 'newest'])
def test_digits_that_are_no_step(tmp_path, step):
  checkpoints = Checkpoints(
    tmp_path, keep_last=1, best_metric='loss', best_mode='min'
  )
  with (
    contextlib.closing(checkpoints),
    pytest.raises(ValueError, match="must be 'best', 'latest' or a step"),
  ):
    checkpoints.restore_chosen(step, None)


@pytest.mark.slow
@pytest.mark.parametrize(
  ('command', 'arguments', 'why'),
  [
    ('evaluate', [b'--workdir=W/caf\xe9'], r'W/caf\udce9 is no UTF-8'),
    ('train', [b'--config=W'], '--config=W is a folder. Name a file in it.'),
    ('train', [b'--config=W/caf\xe9.py'], r'There is no file W/caf\udce9.py'),
    ('report', [b'--workdir=W/list'], 'it holds a list'),
    ('evaluate', [b'--workdir=W/list'], 'it holds a list'),
  ],
)
def test_commands_end_with_one_line(tmp_path, command, arguments, why):
  place = bytes(tmp_path)
  os.mkdir(place + b'/caf\xe9')
  (tmp_path / 'list').mkdir()
  (tmp_path / 'list' / 'config.json').write_text('[1, 2]', encoding='utf-8')
  arguments = [each.replace(b'W', place) for each in arguments]
  result = subprocess.run(
    [sys.executable, '-m', f'experiments.{command}', *arguments],
    cwd=ROOT,
    env={**os.environ, 'JAX_PLATFORMS': 'cpu'},
    capture_output=True,
    check=False,
  )
  told = result.stderr.decode()
  assert result.returncode == 2, told
  assert told.count('\n') == 1 and told.startswith('Error: ')
  assert why.replace('W', str(tmp_path)) in told


def test_output_is_utf_8_and_spells_out_what_is_not(tmp_path):
  name = tmp_path / 'told.py'
  name.write_text(
    'from experiments.host import command_line\n'
    "command_line.run(lambda: print('→ caf\\udce9'))\n",
    encoding='utf-8',
  )
  result = subprocess.run(
    [sys.executable, str(name)],
    cwd=ROOT,
    env={
      **os.environ,
      **{'LC_ALL': 'C', 'PYTHONUTF8': '0', 'PYTHONPATH': str(ROOT)},
    },
    capture_output=True,
    check=True,
  )
  assert result.stdout.decode() == '→ caf\\udce9\n'
