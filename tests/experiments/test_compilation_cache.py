"""What was compiled is found again, whatever becomes of its files."""

import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys

import pytest
from absl import flags
from absl.testing import flagsaver
from etils import epath

from experiments.host.compilation_cache import chosen_folder, remove_unused
from tests import simulated_devices

ROOT = pathlib.Path(__file__).parents[2]
# Compiles programs again and again, as if each time in a process of its own.
SCRIPT = """
import sys

import jax
import jax.numpy as jnp
from absl import flags

from experiments.host.compilation_cache import start_keeping

hits = []
jax.monitoring.register_event_listener(
  lambda name, **_: hits.append(name.endswith('/cache_hits'))
)
flags.FLAGS(sys.argv)
start_keeping()
replicated = jax.pmap(lambda x: jax.lax.psum(x * 2.0, 'all'), axis_name='all')
alone = jax.jit(lambda x: jnp.sin(x) + 1.0)


def results():
  x = jnp.arange(2.0)
  return alone(x).tolist(), replicated(x).tolist()


expected = results()
for round in range(5):
  for path in chosen.glob('*-cache') if round in (1, 2, 3) else ():
    {1: lambda: path.write_bytes(path.read_bytes()[:50]),
     2: lambda: path.write_bytes(b''),
     3: lambda: path.write_bytes(b'no program')}[round]()
  jax.clear_caches()
  hits.clear()
  assert results() == expected
  print('round', round, sum(hits))
"""


def environment(**variables):
  """Of a user who has told jax nothing, but what is given."""
  kept = {
    name: value
    for name, value in simulated_devices.environment(2).items()
    if 'COMPILATION' not in name
  }
  settings = {
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',
  }
  return kept | settings | variables


def run(script, *arguments, **variables):
  return subprocess.run(
    [sys.executable, '-c', script, *arguments],
    cwd=ROOT,
    env=environment(**variables),
    capture_output=True,
    text=True,
    check=True,
  )


def test_programs_are_found_and_broken_files_are_survived(tmp_path):
  folder = tmp_path / 'perceiver_jax' / 'compiled'
  script = SCRIPT.replace('chosen', f'__import__("pathlib").Path("{folder}")')
  result = run(script, XDG_CACHE_HOME=str(tmp_path))
  rounds = dict(re.findall(r'round (\d) (\d+)', result.stdout))
  files = len(list(folder.glob('*-cache')))
  assert files >= 2
  # Found; broken in three ways and compiled again; found again.
  assert rounds == {
    '0': str(files), '1': '0', '2': '0', '3': '0', '4': str(files)
  }  # fmt: skip
  lines = result.stderr.splitlines()
  assert len(lines) == 3 * files, result.stderr
  for line in lines:
    assert line.startswith(f'A compiled program in {folder} cannot be read: ')
    assert line.endswith('. It is removed and compiled again.')


ONE = """
import sys

import jax
from absl import flags

from experiments.host.compilation_cache import start_keeping

flags.FLAGS(sys.argv)
start_keeping()
print(jax.jit(lambda x: x * 2.0)(3.0))
"""


def test_what_a_user_has_told_jax_holds_unless_a_flag_says_otherwise(tmp_path):
  told, ours = tmp_path / 'told', tmp_path / 'ours'
  variables = {
    'JAX_COMPILATION_CACHE_DIR': str(told), 'XDG_CACHE_HOME': str(ours)
  }  # fmt: skip
  run(ONE, **variables)
  assert list(told.glob('jit*-cache')) and not ours.exists()
  before = sorted(told.iterdir())
  flag = f'--compilation_cache={ours / "flag"}'
  run(ONE, flag, **variables)
  assert list((ours / 'flag' / 'compiled').glob('jit*-cache'))
  run(ONE, '--compilation_cache=off', **variables)
  assert sorted(told.iterdir()) == before


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
  (tmp_path / 'file').touch()
  result = run(ONE, f'--compilation_cache={tmp_path / "file"}')
  assert result.stdout == '6.0\n'
  first, *others = result.stderr.splitlines()
  assert 'cannot be' in first and str(tmp_path / 'file') in first
  assert not others


def test_the_default_folder(monkeypatch, tmp_path):
  flags.FLAGS.mark_as_parsed()
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  assert chosen_folder() == epath.Path(tmp_path / 'perceiver_jax')
  monkeypatch.delenv('XDG_CACHE_HOME')
  monkeypatch.setenv('HOME', str(tmp_path))
  assert chosen_folder() == epath.Path(tmp_path / '.cache' / 'perceiver_jax')
  with flagsaver.as_parsed(compilation_cache='off'):
    assert chosen_folder() is None
  with flagsaver.as_parsed(compilation_cache='here'):
    assert chosen_folder() == epath.Path(pathlib.Path.cwd()) / 'here'
  with flagsaver.as_parsed(compilation_cache='gs://bucket/compiled'):
    assert os.fspath(chosen_folder()) == 'gs://bucket/compiled'


def test_what_was_not_read_for_longest_is_removed(tmp_path):
  for name, size, read, written in [
    ('old', 30, 100, 100),
    ('read', 30, 400, 50),
    ('new', 30, 10, 300),
    ('newest', 30, 500, 500),
  ]:
    path = tmp_path / f'{name}-cache'
    path.write_bytes(bytes(size))
    os.utime(path, (read, written))
  (tmp_path / 'note').write_bytes(bytes(1000))

  def left():
    return {path.name.removesuffix('-cache') for path in tmp_path.iterdir()}

  remove_unused(epath.Path(tmp_path), 120)
  assert left() == {'old', 'read', 'new', 'newest', 'note'}
  remove_unused(epath.Path(tmp_path), 89)
  assert left() == {'read', 'newest', 'note'}
  remove_unused(epath.Path(tmp_path), 30)
  assert left() == {'newest', 'note'}
  remove_unused(epath.Path(tmp_path / 'none'), 0)


@pytest.mark.slow
def test_processes_that_compile_the_same_at_once(tmp_path):
  """Each ends with the right result; what they leave can be read."""
  script = f'{ONE}\nprint(jax.pmap(lambda x: x + 1.0)(jax.numpy.ones(2)))'
  command = [sys.executable, '-c', script]
  variables = environment(XDG_CACHE_HOME=str(tmp_path))
  for _ in range(3):
    running = [
      subprocess.Popen(
        command,
        cwd=ROOT,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
      )
      for _ in range(4)
    ]
    for process in running:
      output, _ = process.communicate(timeout=120)
      assert process.returncode == 0 and output == '6.0\n[2. 2.]\n'
    for path in (tmp_path / 'perceiver_jax' / 'compiled').glob('*-cache'):
      path.unlink()
  run(script, XDG_CACHE_HOME=str(tmp_path))
  assert run(script, XDG_CACHE_HOME=str(tmp_path)).stderr == ''


SMALL = (
  '--config=experiments/configs/digits.py',
  '--config.batch_size=8',
  '--config.train_steps=4',
  '--config.log_every=1',
  '--config.checkpoint_every=2',
  '--config.eval_every=100',
  '--config.encoder.num_latents=4',
  '--config.encoder.latent_channels=8',
  '--config.report.seconds=0',
)
TRAIN = """
import jax

from experiments.host import command_line
from experiments import train

compiled, found = [], []
jax.monitoring.register_event_listener(
  lambda name, **_: compiled.append(name.endswith('/cache_misses'))
  or found.append(name.endswith('/cache_hits'))
)


def main():
  train.main()
  print('programs', sum(compiled), sum(found))


command_line.run(main)
"""


@pytest.mark.slow
@pytest.mark.parametrize('way', ['pmap', 'sharded'])
def test_a_resume_compiles_nothing(tmp_path, way):
  def train(workdir):
    arguments = [
      *(*SMALL, f'--config.parallelism.name={way}'),
      f'--workdir={tmp_path / workdir}',
      f'--data_dir={tmp_path / "data"}',
    ]
    return run(TRAIN, *arguments, XDG_CACHE_HOME=str(tmp_path / 'cache'))

  def programs(result):
    return [int(n) for n in result.stdout.split('programs')[1].split()]

  missed, found = programs(train('run'))
  assert missed >= 3
  shutil.rmtree(tmp_path / 'run' / 'checkpoints' / '4')
  (tmp_path / 'run' / 'report.html').unlink()
  resumed = train('run')
  assert 'Resuming from the checkpoint of step 2' in resumed.stdout
  missed, found = programs(resumed)
  assert found >= 2
  assert missed == 0


@pytest.mark.slow
@pytest.mark.parametrize('shared', [True, False])
def test_processes_keep_what_they_compile_only_in_a_common_folder(
  tmp_path, shared
):
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  caches = [tmp_path / 'caches' / str(i * (not shared)) for i in range(2)]
  running = [
    subprocess.Popen(
      [
        *(sys.executable, '-m', 'experiments.train', *SMALL),
        f'--workdir={tmp_path / "run"}',
        f'--data_dir={tmp_path / "data"}',
        f'--multihost=127.0.0.1:{port},2,{i}',
      ],
      cwd=ROOT,
      env=environment(XDG_CACHE_HOME=str(cache)),
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    for i, cache in enumerate(caches)
  ]
  outputs = [process.communicate(timeout=300)[0] for process in running]
  assert [process.returncode for process in running] == [0, 0], outputs
  said = 'Compiled programs are not kept: '
  assert (said in outputs[0]) != shared
  assert said not in outputs[1]
  kept = list(tmp_path.glob('caches/*/perceiver_jax/compiled/*'))
  assert bool(kept) == shared and not list(tmp_path.rglob('*.seen'))
