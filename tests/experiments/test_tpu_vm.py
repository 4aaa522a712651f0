"""tpu_vm.sh, with a stand-in for gcloud. `make gcloud` asks gcloud itself."""

import os
import re
import signal
import subprocess
import time

import pytest

from tests.experiments.stand_ins import FOLDER, make_cloud, tpu_vm


@pytest.fixture
def cloud(tmp_path):
  return tmp_path, make_cloud(tmp_path)


def record(cloud):
  return (cloud[0] / 'record').read_text().splitlines()


def log_until(cloud, text):
  log = cloud[0] / 'machine' / 'perceiver' / 'run.log'
  for _ in range(2400):
    if log.exists() and text in log.read_text():
      return log.read_text()
    time.sleep(0.05)
  raise AssertionError(f'never said {text}')


def pid_of_run(cloud):
  file = cloud[0] / 'machine' / 'perceiver' / 'run.pid'
  while not (file.exists() and file.read_text().strip()):
    time.sleep(0.05)
  return int(file.read_text())


def test_a_slice_is_made_used_and_given_back(cloud):
  for action in ('create', 'install', 'start'):
    result = tpu_vm(cloud, action, SPOT='yes')
    assert result.returncode == 0, result.stderr
  log = log_until(cloud, 'Final evaluation')
  home = cloud[0] / 'machine'
  assert 'arguments: -m experiments.train --multihost=auto --config=' in log
  assert f'--workdir={home}/bucket/runs/imagenet_io' in log
  assert (home / 'perceiver' / 'setup.py').exists()
  assert tpu_vm(cloud, 'delete').returncode == 0
  common = '--project=project-of-test --zone=europe-west4-b --quiet'
  commands = [line for line in record(cloud) if '--command' not in line]
  assert commands[0] == (
    'compute tpus tpu-vm create slice --accelerator-type=v5litepod-32 '
    f'--version=v2-alpha-tpuv5-lite --spot {common}'
  )
  assert re.fullmatch(
    r'compute tpus tpu-vm scp \S+/perceiver.tar.gz slice:perceiver.tar.gz '
    rf'--worker=all {common}',
    commands[1],
  )
  assert f'compute tpus tpu-vm delete slice {common}' in commands
  assert 'ssh slice --worker=all --command=set -e' in '\n'.join(record(cloud))
  (mount,) = [line for line in record(cloud) if line.startswith('gcsfuse')]
  assert mount.endswith(f'bucket-of-test {home}/bucket')


def test_a_run_is_started_once_and_stopped(cloud):
  (cloud[0] / 'waits').touch()
  for action in ('create', 'install', 'start'):
    assert tpu_vm(cloud, action).returncode == 0
  log_until(cloud, 'waiting')
  assert 'It runs already.' in tpu_vm(cloud, 'start').stdout
  assert tpu_vm(cloud, 'stop').returncode == 0
  assert log_until(cloud, 'saving').count('waiting') == 1


def test_keep_carries_a_run_over_a_preemption(cloud):
  (cloud[0] / 'waits').touch()
  keeper = subprocess.Popen(
    ['bash', str(FOLDER / 'tpu_vm.sh'), 'keep'],
    cwd=cloud[0] / 'checkout',
    env=cloud[1],
    stdout=subprocess.PIPE,
    text=True,
  )
  log_until(cloud, 'waiting')
  pid = pid_of_run(cloud)
  (cloud[0] / 'waits').unlink()
  (cloud[0] / 'none').touch()  # There is no other slice for a moment.
  (cloud[0] / 'state').write_text('PREEMPTED\n')
  os.kill(pid, signal.SIGTERM)  # With the machine, its process ends.
  for line in keeper.stdout:
    if 'None is to be had' in line:
      (cloud[0] / 'none').unlink()
      break
  output, _ = keeper.communicate(timeout=300)
  assert keeper.returncode == 0
  assert 'The run has finished.' in output
  commands = [line.split()[3] for line in record(cloud) if 'tpu-vm' in line]
  assert commands.count('delete') == 1
  assert commands.count('create') >= 3


@pytest.mark.parametrize(
  ('code', 'times', 'result_code', 'said'),
  [
    (75, 2, 1, 'It failed 2 times'),
    # A mistake of the user's; but when `keep` begins, it may be mended.
    (2, 1, 2, 'Starting it again would not help'),
  ],
)
def test_keep_gives_up_on_a_run_that_fails(
  cloud, code, times, result_code, said
):
  (cloud[0] / 'fails').write_text(f'{code}')
  log = cloud[0] / 'machine' / 'perceiver' / 'run.log'
  for attempt in (1, 2):
    result = tpu_vm(cloud, 'keep')
    assert result.returncode == result_code
    assert said in result.stderr
    assert log.read_text().count('Error: it fails') == attempt * times


@pytest.mark.parametrize('arguments', [[], ['unknown']])
def test_how_to_use_it_is_said(cloud, arguments):
  result = tpu_vm(cloud, *arguments)
  assert result.returncode == 2
  assert 'tpu_vm.sh create    make the slice' in result.stderr
  assert not (cloud[0] / 'record').exists()


def test_a_request_waits_in_the_queue(cloud):
  (cloud[0] / 'next').write_text('ACTIVE\n')
  result = tpu_vm(cloud, 'create', QUEUED='yes', SPOT='yes', REACH='internal')
  assert result.returncode == 0, result.stderr
  assert result.stdout == 'In the queue: ACCEPTED.\n'
  asked = [line for line in record(cloud) if 'describe' not in line]
  assert asked == [
    'compute tpus queued-resources create slice --node-id=slice '
    '--accelerator-type=v5litepod-32 --runtime-version=v2-alpha-tpuv5-lite '
    '--spot --internal-ips '
    '--project=project-of-test --zone=europe-west4-b --quiet'
  ]
  # Called again, it finds its place.
  assert tpu_vm(cloud, 'create', QUEUED='yes').returncode == 0
  assert len([line for line in record(cloud) if ' create ' in line]) == 1
  assert tpu_vm(cloud, 'delete', QUEUED='yes').returncode == 0
  assert 'queued-resources delete slice --force' in record(cloud)[-1]


def test_a_request_that_failed_is_taken_back(cloud):
  (cloud[0] / 'next').write_text('FAILED\n')
  result = tpu_vm(cloud, 'create', QUEUED='yes')
  assert result.returncode == 1
  assert 'The request ended, FAILED: deleting it.' in result.stderr
  assert 'queued-resources delete slice --force' in record(cloud)[-1]
  assert not (cloud[0] / 'place').exists()


def test_keep_asks_in_the_queue_again(cloud):
  (cloud[0] / 'waits').touch()
  (cloud[0] / 'next').write_text('ACTIVE\n')
  keeper = subprocess.Popen(
    ['bash', str(FOLDER / 'tpu_vm.sh'), 'keep'],
    cwd=cloud[0] / 'checkout',
    env=cloud[1] | {'QUEUED': 'yes'},
    stdout=subprocess.PIPE,
    text=True,
  )
  log_until(cloud, 'waiting')
  pid = pid_of_run(cloud)
  (cloud[0] / 'waits').unlink()
  (cloud[0] / 'next').write_text('ACTIVE\n')
  (cloud[0] / 'place').write_text('SUSPENDED\n')
  (cloud[0] / 'state').write_text('PREEMPTED\n')
  os.kill(pid, signal.SIGTERM)
  output, _ = keeper.communicate(timeout=300)
  assert keeper.returncode == 0
  assert output.count('In the queue: ACCEPTED.') == 2
  assert 'The run has finished.' in output
  asked = [line.split()[3] for line in record(cloud) if ' queued-' in line]
  assert [x for x in asked if x != 'describe'] == ['create', 'delete', 'create']


@pytest.mark.parametrize(
  ('reach', 'command', 'option'),
  [
    ('external', 'compute', None),
    ('internal', 'compute', '--internal-ip'),
    ('iap', 'alpha compute', '--tunnel-through-iap'),
  ],
)
def test_machines_are_reached(cloud, reach, command, option):
  for action in ('create', 'install'):
    assert tpu_vm(cloud, action, REACH=reach).returncode == 0
  create, *others = record(cloud)
  assert ('--internal-ips' in create.split()) == (reach != 'external')
  reaching = [line for line in others if re.search(r' tpu-vm (ssh|scp) ', line)]
  assert all(line.startswith(f'{command} tpus') for line in reaching)
  text = '\n'.join(others)
  for flag in ('--internal-ip', '--tunnel-through-iap'):
    count = len(re.findall(rf'{flag} --project', text))
    assert count == (len(reaching) if flag == option else 0)


@pytest.mark.parametrize(('agent', 'added'), [(0, 1), (1, 1), (2, 0)])
def test_an_agent_gets_the_key_that_gcloud_asks_for(cloud, agent, added):
  (cloud[0] / '.ssh').mkdir()
  (cloud[0] / '.ssh' / 'google_compute_engine').touch()
  ssh_add = cloud[0] / 'bin' / 'ssh-add'
  ssh_add.write_text(
    '#!/usr/bin/env bash\necho "ssh-add $*" >> "$RECORD"\n'
    f'[ "$1" != -l ] || exit {agent}\n'
  )
  ssh_add.chmod(0o755)
  assert tpu_vm(cloud, 'create').returncode == 0
  assert tpu_vm(cloud, 'install').returncode == 0
  lines = record(cloud)
  key = f'ssh-add -q {cloud[0]}/.ssh/google_compute_engine'
  assert (key in lines) == bool(added)
  if added:
    copied = [line for line in lines if ' scp ' in line]
    assert lines.index(key) < lines.index(copied[0])


def test_variables_are_those_of_the_run(cloud):
  train = cloud[0] / 'bin' / 'train'
  train.write_text(
    train.read_text() + 'echo "level: $JAX_OPTIMIZATION_LEVEL"\n'
  )
  changes = {'VARIABLES': 'JAX_OPTIMIZATION_LEVEL=O1'}
  for action in ('create', 'install', 'start'):
    assert tpu_vm(cloud, action, **changes).returncode == 0
  assert 'level: O1' in log_until(cloud, 'level:')


@pytest.mark.parametrize(
  ('name', 'value', 'message'),
  [
    ('PROJECT', '', 'Set PROJECT'),
    ('BUCKET', '', 'Set BUCKET'),
    ('SPOT', 'true', 'SPOT is true, not one of: yes no.'),
    ('REACH', 'vpn', 'REACH is vpn, not one of: external internal iap.'),
  ],
)
def test_values_are_checked_before_anything_is_made(
  cloud, name, value, message
):
  result = tpu_vm(cloud, 'create', **{name: value})
  assert result.returncode == 2
  assert message in result.stderr
  assert not (cloud[0] / 'record').exists()
