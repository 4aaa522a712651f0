"""gcloud's own code on our command lines, where it is installed: make gcloud.

Nothing is carried out: no account is needed, and no network.
"""

import json
import os
import pathlib
import shutil
import string
import subprocess

import pytest

from tests import shell_lines
from tests.documents import DOCUMENTS, read
from tests.experiments.stand_ins import make_cloud, tpu_vm


@pytest.fixture(scope='module')
def sdk(tmp_path_factory):
  """Folder and Python of the gcloud that is installed."""
  settings = {'CLOUDSDK_CONFIG': str(tmp_path_factory.mktemp('settings'))}
  form = '--format=value(installation.sdk_root, basic.python_location)'
  result = subprocess.run(
    ['gcloud', 'info', form],
    env=os.environ | settings,
    capture_output=True,
    text=True,
    check=True,
  )
  root, python = result.stdout.split()
  return root, python, os.environ | settings


def complaints(sdk, commands):
  """What gcloud says against each command."""
  root, python, environment = sdk
  result = subprocess.run(
    [python, str(pathlib.Path(__file__).with_name('parse.py')), root],
    input=json.dumps(commands),
    env=environment,
    capture_output=True,
    text=True,
    check=True,
  )
  return json.loads(result.stdout)


def recorded(folder):
  """The commands that tpu_vm.sh gave to the stand-in."""
  calls = (folder / 'vectors').read_text().split('\0\0')
  return [call.split('\0') for call in calls if call]


@pytest.mark.parametrize('reach', ['external', 'internal', 'iap'])
@pytest.mark.parametrize('queued', ['yes', 'no'])
def test_gcloud_takes_what_tpu_vm_says(sdk, tmp_path, queued, reach):
  cloud = tmp_path, make_cloud(tmp_path)
  (tmp_path / 'next').write_text('ACTIVE\n')
  changes = {'QUEUED': queued, 'REACH': reach, 'SPOT': 'yes'}
  for action in ('create', 'install', 'start', 'keep', 'stop', 'delete'):
    tpu_vm(cloud, action, **changes)
  commands = recorded(tmp_path)
  verbs = {call[call.index('tpus') + 2] for call in commands}
  assert verbs == {'create', 'describe', 'ssh', 'scp', 'delete'}
  assert complaints(sdk, commands) == [''] * len(commands)


def commands_of(document):
  """Those of gcloud, with the values that the document exports before."""
  values = {}
  for block in document.blocks:
    if block.language != 'sh':
      continue
    for program, *words in shell_lines.commands(block.code):
      words = [string.Template(word).safe_substitute(values) for word in words]
      if program == 'export':
        values |= dict(word.split('=', 1) for word in words)
      if program == 'gcloud':
        yield words


def test_gcloud_takes_what_documents_say(sdk):
  commands = [x for path in DOCUMENTS for x in commands_of(read(path))]
  assert len(commands) > 5
  said = complaints(sdk, commands)
  assert {
    ' '.join(command): text
    for command, text in zip(commands, said, strict=True)
    if text
  } == {}


def test_a_wrong_command_is_found(sdk):
  known = ['compute', 'tpus', 'tpu-vm', 'ssh', 'a', '--zone=b']
  said = complaints(sdk, [known, [*known, '--tunnel-through-iap']])
  assert said[0] == ''
  assert 'unrecognized arguments' in said[1]


CHECK = """
import sys
root, key = sys.argv[1:]
sys.path[:0] = [f'{root}/lib', f'{root}/lib/third_party']
from googlecloudsdk.command_lib.compute.tpus.tpu_vm import ssh
ssh.VerifyKeyInAgent(key)
"""


def test_gcloud_finds_its_key_in_an_agent_that_held_another(sdk, tmp_path):
  root, python, environment = sdk
  cloud = tmp_path, make_cloud(tmp_path)
  for name in ('ssh-add', 'ssh-keygen'):
    (tmp_path / 'bin' / name).symlink_to(shutil.which(name))
  (tmp_path / '.ssh').mkdir()
  key = tmp_path / '.ssh' / 'google_compute_engine'
  for file in (key, tmp_path / 'other'):
    subprocess.run(
      ['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', str(file)],
      check=True,
    )
  socket = {'SSH_AUTH_SOCK': str(tmp_path / 'agent')}
  agent = subprocess.Popen(['ssh-agent', '-D', '-a', socket['SSH_AUTH_SOCK']])

  def gcloud_sees_it():
    return subprocess.run(
      [python, '-c', CHECK, root, str(key)],
      env=environment | socket,
      capture_output=True,
      text=True,
      check=False,
    )

  try:
    while not pathlib.Path(socket['SSH_AUTH_SOCK']).exists():
      pass
    subprocess.run(
      ['ssh-add', '-q', str(tmp_path / 'other')],
      env=os.environ | socket,
      check=True,
    )
    assert 'SSH Key is not present' in gcloud_sees_it().stderr
    for action in ('create', 'install'):
      result = tpu_vm(cloud, action, **socket)
      assert result.returncode == 0, result.stderr
    seen = gcloud_sees_it()
    assert seen.returncode == 0, seen.stderr
  finally:
    agent.terminate()
    agent.wait()
