"""Weights & Biases, by a stand-in of its package that keeps what it gets."""

import json
import pathlib
import sys

import pytest

from experiments.watching.weights_and_biases import WeightsAndBiases

# `wandb` as far as we use it. Each call is a line of calls.jsonl; what fails
# is named in the environment.
STAND_IN = """
import json, os, pathlib, types

class Error(Exception): pass
class CommError(Error): pass
class AuthenticationError(CommError): pass
class UsageError(Error): pass
errors = types.SimpleNamespace(
  Error=Error, CommError=CommError, AuthenticationError=AuthenticationError,
  UsageError=UsageError)

def called(name, /, **arguments):
  line = json.dumps([name, arguments], default=str)
  with (pathlib.Path(__file__).parent / 'calls.jsonl').open('a') as file:
    file.write(line + '\\n')
  failure = os.environ.get('FAIL_' + name)
  if failure:
    raise getattr(errors, failure)('no\\n  network')

class Run:
  def log(self, data, *, step):
    called('log', data=data, step=step)

  def finish(self):
    called('finish')

def init(**arguments):
  called('init', **arguments)
  return Run()
"""


@pytest.fixture
def package(tmp_path_factory, monkeypatch):
  """The stand-in's folder, found before any installed package."""
  folder = tmp_path_factory.mktemp('package')
  (folder / 'wandb.py').write_text(STAND_IN)
  monkeypatch.syspath_prepend(folder)
  monkeypatch.delitem(sys.modules, 'wandb', raising=False)
  yield folder
  sys.modules.pop('wandb', None)


def calls(package):
  path = pathlib.Path(package) / 'calls.jsonl'
  if not path.exists():
    return []
  return [tuple(json.loads(line)) for line in path.open()]


def run(workdir, rows, **section):
  """A whole run."""
  copy = WeightsAndBiases(**section)
  copy.start({'seed': 3, 'encoder': {'num_latents': 8}}, workdir)
  for step, row in rows.items():
    copy.write(step, row)
  copy.close()


def test_names_and_steps_are_ours(package, tmp_path):
  workdir = tmp_path / 'digits'
  workdir.mkdir()
  rows = {10: {'train/loss': 2.5}, 20: {'train/loss': 0.5, 'eval/top_1': 1.0}}
  run(workdir, rows, project='perceiver')
  (first, begun), *logged, (last, _) = calls(package)
  assert (first, last) == ('init', 'finish')
  assert logged == [('log', {'data': rows[n], 'step': n}) for n in (10, 20)]
  assert begun['project'] == 'perceiver'
  assert begun['name'] == 'digits'
  assert begun['mode'] == 'online'
  assert begun['dir'] == str(workdir)
  assert begun['config'] == {'seed': 3, 'encoder': {'num_latents': 8}}


def test_a_run_that_resumes_continues_its_run_there(package, tmp_path):
  for workdir in (tmp_path / 'a', tmp_path / 'a', tmp_path / 'b'):
    workdir.mkdir(exist_ok=True)
    run(workdir, {}, project='p', run_name='mine', mode='offline')
  begun = [arguments for name, arguments in calls(package) if name == 'init']
  ids = [each['id'] for each in begun]
  assert ids[0] == ids[1] != ids[2]
  assert ids[0] == (tmp_path / 'a' / 'wandb_id').read_text().strip()
  assert {each['resume'] for each in begun} == {'allow'}
  assert {(each['name'], each['mode']) for each in begun} == {
    ('mine', 'offline')
  }


@pytest.mark.parametrize('section', [{}, {'project': 'p', 'active': False}])
def test_nothing_happens_without_a_project_or_in_another_process(
  package, tmp_path, section
):
  run(tmp_path, {1: {'train/loss': 1.0}}, **section)
  assert calls(package) == []
  assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_told_at_once(monkeypatch):
  monkeypatch.setitem(sys.modules, 'wandb', None)  # As if not installed.
  WeightsAndBiases()
  with pytest.raises(ValueError, match=r'pip install wandb'):
    WeightsAndBiases(project='p')


def test_a_wrong_mode_is_told_at_once():
  with pytest.raises(ValueError, match=r"'on' is not one of online, offline"):
    WeightsAndBiases(mode='on')


@pytest.mark.parametrize('error', ['UsageError', 'AuthenticationError'])
def test_whoever_is_not_logged_in_is_told_how(
  package, tmp_path, monkeypatch, error
):
  monkeypatch.setenv('FAIL_init', error)
  with pytest.raises(ValueError, match='WANDB_API_KEY'):
    run(tmp_path, {}, project='p')


@pytest.mark.parametrize(
  ('failing', 'made'),
  [
    ('init', ['init']),
    ('log', ['init', 'log']),
    ('finish', ['init', 'log', 'log', 'finish']),
  ],
)
def test_training_goes_on_without_the_service(
  package, tmp_path, monkeypatch, capsys, failing, made
):
  monkeypatch.setenv(f'FAIL_{failing}', 'CommError')
  rows = {1: {'train/loss': 1.0}, 2: {'train/loss': 1.0}}
  run(tmp_path, rows, project='p')
  assert [name for name, _ in calls(package)] == made
  assert capsys.readouterr().out == (
    'Weights & Biases failed, training goes on without it: CommError: no '
    'network\n'
  )
