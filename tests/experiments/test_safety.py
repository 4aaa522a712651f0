"""Nothing is unpickled, nothing listens, and the user's umask holds."""

import ast
import os
import pathlib
import socket
import stat
import subprocess
import sys
import tempfile
import time

import pytest

from tests import simulated_devices

ROOT = pathlib.Path(__file__).parents[2]
# Reads without running anything a file asks for; tested in test_unpickle.py.
RESTRICTED = pathlib.Path('perceiver_jax/unpickle.py')
# They run what a file says, or may.
MODULES = {
  *('_pickle', 'cloudpickle', 'code', 'dill', 'joblib', 'marshal', 'pickle'),
  *('shelve', 'xmlrpc'),
}
CALLS = {
  *('eval', 'exec', 'compile', '__import__'),
  *('read_pickle', 'load_pickle', 'unsafe_load', 'full_load', 'system'),
}
# And processes that make batches.
UMASKS = {0o027: 0, 0o077: 1}


def runs_files(tree):
  """Lines of code that may run what a file says, or a shell."""
  lines = []
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      names = {alias.name.split('.')[0] for alias in node.names}
      lines += [node.lineno] * bool(names & MODULES)
    elif isinstance(node, ast.ImportFrom):
      lines += [node.lineno] * (node.module.split('.')[0] in MODULES)
    elif isinstance(node, ast.Call):
      lines += [node.lineno] * calls_one(node)
  return lines


def calls_one(node):
  name = ast.unparse(node.func)
  given = {key.arg: ast.unparse(key.value) for key in node.keywords}
  if name in CALLS or name.rpartition('.')[2] in CALLS - {'compile'}:
    return True
  if name == 'torch.load':
    return given.get('weights_only') != 'True'
  # Readers that start programs, or open what a file names, unless told not to.
  if name == 'PIL.Image.open':
    return 'formats' not in given
  if name == 'av.open':
    return given.get('options') != '_OPTIONS' and "'w'" not in map(
      ast.unparse, node.args
    )
  if name in ('trimesh.load', 'trimesh.load_mesh', 'trimesh.load_scene'):
    return given.get('file_type') != "'stl'"
  if name == 'yaml.load':
    return given.get('Loader') != 'yaml.SafeLoader'
  return (
    given.get('allow_pickle', 'False') != 'False'
    or given.get('shell', 'False') != 'False'
  )


@pytest.mark.parametrize(
  ('line', 'unsafe'),
  [
    ('import pickle', True),
    ('import a, dill.b as c', True),
    ('from shelve import open', True),
    ('def f():\n  import joblib', True),
    ('eval(x)', True),
    ('exec(x)', True),
    ('np.load(x, allow_pickle=True)', True),
    ('numpy.lib.npyio.NpzFile(x, allow_pickle=y)', True),
    ('np.load(x, allow_pickle=False)', False),
    ('np.load(x)', False),
    ('torch.load(x)', True),
    ('torch.load(x, weights_only=False)', True),
    ('torch.load(x, weights_only=True)', False),
    ('PIL.Image.open(x)', True),
    ("PIL.Image.open(x, formats=('PNG',))", False),
    ('av.open(x)', True),
    ('av.open(x, options=_OPTIONS)', False),
    ("av.open(x, 'w', options={})", False),
    ('trimesh.load(x)', True),
    ("trimesh.load(x, file_type='obj')", True),
    ("trimesh.load(x, file_type='stl')", False),
    ('pd.read_pickle(x)', True),
    ('yaml.load(x, Loader=yaml.Loader)', True),
    ('yaml.safe_load(x)', False),
    ('subprocess.run(x, shell=True)', True),
    ('os.system(x)', True),
    ('subprocess.run([x])', False),
    ('jax.jit(f).lower(x).compile()', False),
    ('re.compile(x)', False),
    ('model.eval_step(x)', False),
    ('json.loads(x)', False),
  ],
)
def test_unsafe_lines_are_found(line, unsafe):
  assert bool(runs_files(ast.parse(line))) == unsafe


def test_no_module_runs_what_a_file_says():
  files = [
    path.relative_to(ROOT)
    for package in ('perceiver_jax', 'experiments')
    for path in sorted((ROOT / package).rglob('*.py'))
  ]
  assert RESTRICTED in files
  found = {
    str(path): lines
    for path in files
    if (lines := runs_files(ast.parse((ROOT / path).read_text())))
  }
  assert set(found) == {str(RESTRICTED)}
  # It imports the machine, of which it overrides what looks names up.
  assert len(found[str(RESTRICTED)]) == 1
  text = (ROOT / RESTRICTED).read_text()
  assert text.count('pickle.Unpickler') == 1
  assert 'pickle.load' not in text
  assert 'super().find_class' not in text


def family(pid):
  """A process and those it started, and these, and so on."""
  parents = {}
  for path in pathlib.Path('/proc').glob('[0-9]*'):
    try:
      fields = (path / 'stat').read_text().rpartition(')')[2].split()
    except OSError:  # It has ended.
      continue
    parents[int(path.name)] = int(fields[1])
  members, found = set(), {pid}
  while found:
    members |= found
    found = {child for child, parent in parents.items() if parent in found}
    found -= members
  return members


def sockets(pid):
  """Inodes of a process's sockets."""
  inodes = set()
  try:
    for path in pathlib.Path(f'/proc/{pid}/fd').iterdir():
      target = os.readlink(path)
      if target.startswith('socket:['):
        inodes.add(target[len('socket:[') : -1])
  except OSError:  # A file was closed, or the process has ended.
    pass
  return inodes


def listening(pid):
  """Addresses where a process or one of its family listens, as in proc(5)."""
  found = set()
  for member in family(pid):
    inodes = sockets(member)
    # 0A is LISTEN; a UDP socket without a peer takes from everybody.
    for name in ('tcp', 'tcp6', 'udp', 'udp6') if inodes else ():
      try:
        table = pathlib.Path(f'/proc/{member}/net/{name}').read_text()
      except OSError:
        continue
      for line in table.splitlines()[1:]:
        fields = line.split()
        listens = fields[3] == ('0A' if name.startswith('tcp') else '07')
        if listens and fields[9] in inodes:
          found.add(f'{name} {fields[1]}')
  return found


@pytest.mark.parametrize('kind', [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_what_listens_is_found(kind):
  def port(found):
    return {int(each.rpartition(':')[2], 16) for each in found}

  with socket.socket(socket.AF_INET, kind) as open_socket:
    before = listening(os.getpid())
    open_socket.bind(('127.0.0.1', 0))
    if kind == socket.SOCK_STREAM:
      open_socket.listen()
    number = open_socket.getsockname()[1]
    assert port(listening(os.getpid()) - before) == {number}
    # Of a child, too.
    code = 'import sys; print(flush=True); sys.stdin.read()'
    child = subprocess.Popen(
      [sys.executable, '-c', code],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      pass_fds=[open_socket.fileno()],
    )
    child.stdout.readline()
    assert port(listening(child.pid)) == {number}
    child.communicate()


def run(folder, umask, workers):
  """Trains for a few steps; returns where it listened and what it said."""
  process = subprocess.Popen(
    [
      *(sys.executable, '-m', 'experiments.train'),
      '--config=experiments/configs/digits.py',
      *('--config.batch_size=32', '--config.train_steps=4'),
      *('--config.log_every=2', '--config.eval_every=4'),
      '--config.checkpoint_every=2',
      '--config.inputs.image.positions.num_bands=4',
      '--config.encoder.num_latents=8',
      '--config.encoder.latent_channels=32',
      '--config.encoder.self_attends_per_block=1',
      '--config.schedule.warmup_steps=2',
      '--config.report.seconds=0',
      # Processes that make batches, which talk to this one.
      f'--config.data_workers={workers}',
      *(f'--workdir={folder}/run', f'--data_dir={folder}/data'),
    ],
    cwd=ROOT,
    env=os.environ | COMPILATION,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    umask=umask,
  )
  found, looks = set(), 0
  while process.poll() is None:
    found |= listening(process.pid)
    looks += 1
    time.sleep(0.1)
  output, _ = process.communicate()
  assert process.returncode == 0, output
  assert looks > 10
  return found, output


CACHE = tempfile.TemporaryDirectory(prefix='compilation')
COMPILATION = {
  'JAX_PLATFORMS': 'cpu',
  **simulated_devices.compilation_cache(CACHE.name),
  'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',
}


@pytest.fixture(scope='module', params=UMASKS.items(), ids=['027', '077'])
def trained(request, tmp_path_factory):
  """A finished run: its umask, its folder, and where it listened."""
  folder = tmp_path_factory.mktemp('runs')
  umask, workers = request.param
  found, output = run(folder, umask, workers)
  assert 'Final evaluation' in output
  return umask, folder, found


@pytest.mark.slow
def test_files_have_the_rights_that_the_user_lets_them_have(trained):
  umask, folder, _ = trained
  paths = [path for path in folder.rglob('*') if not path.is_symlink()]
  for part in ('run/checkpoints/4', 'run/metrics.jsonl', 'data/'):
    assert any(part in f'{path}' for path in paths)
  wider = {
    str(path.relative_to(folder)): oct(mode)
    for path in paths
    if (mode := stat.S_IMODE(path.stat().st_mode)) & umask
  }
  assert not wider
  # None is narrower for its owner than a user expects either.
  assert all(path.stat().st_mode & stat.S_IRUSR for path in paths)


@pytest.mark.slow
def test_a_run_does_not_listen(trained):
  assert trained[2] == set()
