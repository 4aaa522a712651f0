"""The launchers of clusters, with stand-ins for what only a cluster has."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / 'experiments' / 'launch'
TOOLS = (
  *('bash', 'cat', 'dirname', 'env', 'git', 'grep', 'gzip', 'mkdir', 'mktemp'),
  *('nohup', 'rm', 'sed', 'sleep', 'tail', 'tar', 'tee', 'chmod', 'seq'),
)
# Stands for `gcloud compute tpus tpu-vm`: writes its arguments down, keeps the
# state of the slice in a file, and runs commands here, in another home.
GCLOUD = r"""#!/usr/bin/env bash
echo "$*" >> "$RECORD"
command=
for argument in "$@"; do
  case $argument in --command=*) command=${argument#--command=} ;; esac
done
case $4 in
  create)
    [ -f "$STAND_IN/none" ] && exit 1
    mkdir -p "$STAND_IN/machine"
    echo READY > "$STAND_IN/state"
    ;;
  describe) cat "$STAND_IN/state" ;;
  delete) rm -r "$STAND_IN/state" "$STAND_IN/machine" ;;
  scp) cat "$5" > "$STAND_IN/machine/perceiver.tar.gz" ;;
  ssh) HOME=$STAND_IN/machine bash -c "cd && $command" ;;
esac
"""
# Makes the environment's Python, which only says what a run says at its end.
PYTHON3 = r"""#!/usr/bin/env bash
case "$*" in
  *'uv venv'*)
    mkdir -p .venv/bin
    ln -s "$STAND_IN/bin/train" .venv/bin/python
    ;;
esac
"""
TRAIN = r"""#!/usr/bin/env bash
echo "arguments: $*"
if [ -f "$STAND_IN/fails" ]; then
  echo 'Error: of the config'
  exit 2
fi
if [ -f "$STAND_IN/waits" ]; then
  trap 'echo "SIGTERM: saving"; exit 0' TERM
  echo waiting
  for i in $(seq 600); do sleep 0.1; done
fi
echo 'Final evaluation: eval/accuracy 0.5'
"""


@pytest.fixture
def cloud(tmp_path):
  """A folder with the stand-ins, and the environment that finds only them."""
  programs = {
    'gcloud': GCLOUD,
    'python3': PYTHON3,
    'train': TRAIN,
    'python': TRAIN,
    'srun': '#!/usr/bin/env bash\nprintf "%s\\n" "$@"\n',
    'gcsfuse': '#!/usr/bin/env bash\necho "gcsfuse $*" >> "$RECORD"\n',
    'mountpoint': '#!/usr/bin/env bash\nexit 1\n',
  }
  folder = tmp_path / 'bin'
  folder.mkdir()
  for name, text in programs.items():
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)
  for name in (*TOOLS, 'ln'):
    (folder / name).symlink_to(shutil.which(name))
  (tmp_path / 'checkout').mkdir()
  (tmp_path / 'checkout' / 'setup.py').touch()
  author = ['-c', 'user.name=a', '-c', 'user.email=a@b.c']
  for command in (['init'], ['add', '.'], [*author, 'commit', '-m', 'a']):
    subprocess.run(
      ['git', *command],
      cwd=tmp_path / 'checkout',
      check=True,
      capture_output=True,
    )
  environment = {
    'PATH': str(folder),
    'HOME': str(tmp_path),
    'STAND_IN': str(tmp_path),
    'RECORD': str(tmp_path / 'record'),
    'NAME': 'slice',
    'BUCKET': 'bucket-of-test',
    'LOOK_EVERY': '0.2',
    'FAILURES': '2',
  }
  return tmp_path, environment


def tpu_vm(cloud, *arguments, **changes):
  return subprocess.run(
    ['bash', str(FOLDER / 'tpu_vm.sh'), *arguments],
    cwd=cloud[0] / 'checkout',
    env=cloud[1] | changes,
    capture_output=True,
    text=True,
    timeout=60,
    check=False,
  )


def record(cloud):
  return (cloud[0] / 'record').read_text().splitlines()


def log_until(cloud, text):
  log = cloud[0] / 'machine' / 'perceiver' / 'run.log'
  for _ in range(200):
    if log.exists() and text in log.read_text():
      return log.read_text()
    time.sleep(0.05)
  raise AssertionError(f'never said {text}')


@pytest.mark.parametrize('name', ['tpu_vm.sh', 'slurm.sbatch'])
def test_shell_files_parse(name):
  result = subprocess.run(
    ['bash', '-n', FOLDER / name], capture_output=True, text=True, check=False
  )
  assert result.returncode == 0, result.stderr
  assert not result.stderr


@pytest.mark.parametrize('name', ['tpu_vm.sh', 'slurm.sbatch', 'jobset.yaml'])
def test_what_is_started_exists(name):
  text = (FOLDER / name).read_text()
  (module,) = set(re.findall(r'-m (experiments\.\w+)', text))
  assert (ROOT / module.replace('.', '/')).with_suffix('.py').exists()
  configs = set(re.findall(r'experiments/configs/\w+\.py', text))
  assert all((ROOT / config).exists() for config in configs)
  assert f'experiments/launch/{name}' in text


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
  common = '--project=my-project --zone=europe-west4-b --quiet'
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
  pid = (cloud[0] / 'machine' / 'perceiver' / 'run.pid').read_text()
  (cloud[0] / 'waits').unlink()
  (cloud[0] / 'none').touch()  # There is no other slice for a moment.
  (cloud[0] / 'state').write_text('PREEMPTED\n')
  os.kill(int(pid), signal.SIGTERM)  # With the machine, its process ends.
  for line in keeper.stdout:
    if 'None is to be had' in line:
      (cloud[0] / 'none').unlink()
      break
  output, _ = keeper.communicate(timeout=30)
  assert keeper.returncode == 0
  assert 'The run has finished.' in output
  commands = [line.split()[3] for line in record(cloud) if 'tpu-vm' in line]
  assert commands.count('delete') == 1
  assert commands.count('create') >= 3


def test_keep_gives_up_on_a_run_that_fails(cloud):
  (cloud[0] / 'fails').touch()
  result = tpu_vm(cloud, 'keep')
  assert result.returncode == 1
  assert 'It failed 2 times' in result.stderr
  log = cloud[0] / 'machine' / 'perceiver' / 'run.log'
  assert log.read_text().count('Error: of the config') == 2


@pytest.mark.parametrize('arguments', [[], ['unknown']])
def test_how_to_use_it_is_said(cloud, arguments):
  result = tpu_vm(cloud, *arguments)
  assert result.returncode == 2
  assert 'tpu_vm.sh create    make the slice' in result.stderr
  assert not (cloud[0] / 'record').exists()


def test_slurm_starts_a_process_for_each_gpu(cloud):
  def sbatch(*arguments):
    return subprocess.run(
      ['bash', FOLDER / 'slurm.sbatch', *arguments],
      env=cloud[1] | {'SLURM_CPUS_PER_TASK': '8'},
      capture_output=True,
      text=True,
      check=False,
    )

  assert sbatch().returncode == 2
  assert sbatch('--config=a b').stdout.splitlines() == [
    '--cpus-per-task=8',
    '--gpu-bind=none',
    '--kill-on-bad-exit=1',
    '--label',
    '.venv/bin/python',
    '-u',
    '-m',
    'experiments.train',
    '--multihost=auto',
    '--config=a b',
  ]
  text = (FOLDER / 'slurm.sbatch').read_text()
  options = dict(re.findall(r'^#SBATCH --([\w-]+)=(\S+)$', text, re.MULTILINE))
  # Slurm stops reading at the first command.
  assert text.rindex('#SBATCH') < text.index('set -euo')
  assert options['ntasks-per-node'] == options['gpus-per-node']
  assert options['signal'] == 'TERM@300'
  assert options['dependency'] == 'singleton'


@pytest.fixture(scope='module')
def jobset():
  return yaml.safe_load((FOLDER / 'jobset.yaml').read_text())


def test_jobset_agrees_with_itself(jobset):
  assert jobset['apiVersion'] == 'jobset.x-k8s.io/v1alpha2'
  (workers,) = jobset['spec']['replicatedJobs']
  job = workers['template']['spec']
  pod = job['template']['spec']
  (container,) = pod['containers']
  values = {each['name']: each['value'] for each in container['env']}
  machines = int(values['MACHINES'])
  assert job['parallelism'] == job['completions'] == machines
  assert job['completionMode'] == 'Indexed'
  name = jobset['metadata']['name']
  port = container['ports'][0]['containerPort']
  assert values['COORDINATOR'] == (
    f'{name}-{workers["name"]}-0-0.{name}:{port}'
  )
  # A pod that fails alone must end the run, which JobSet starts again.
  assert job['backoffLimit'] == 0
  assert pod['restartPolicy'] == 'Never'
  assert jobset['spec']['failurePolicy']['maxRestarts'] > 0
  mounted = {mount['name'] for mount in container['volumeMounts']}
  assert mounted == {volume['name'] for volume in pod['volumes']}
  paths = re.findall(r'--(?:data_dir|workdir)=(/\w+)', values['ARGUMENTS'])
  assert paths == ['/shared', '/shared']


def start_pod(jobset, cloud):
  job = jobset['spec']['replicatedJobs'][0]['template']['spec']
  (container,) = job['template']['spec']['containers']
  values = {each['name']: each['value'] for each in container['env']}
  return subprocess.Popen(
    container['command'],
    env=cloud[1] | values | {'JOB_COMPLETION_INDEX': '1'},
    stdout=subprocess.PIPE,
    text=True,
  )


def test_a_pod_joins_by_its_index_and_ends_as_the_run_does(jobset, cloud):
  pod = start_pod(jobset, cloud)
  output, _ = pod.communicate(timeout=30)
  assert pod.returncode == 0
  assert output.startswith(
    'arguments: -u -m experiments.train '
    '--multihost=perceiver-workers-0-0.perceiver:1234,2,1 --config='
  )
  (cloud[0] / 'fails').touch()
  pod = start_pod(jobset, cloud)
  pod.communicate(timeout=30)
  assert pod.returncode == 2


def test_a_pod_that_is_stopped_has_not_finished(jobset, cloud):
  (cloud[0] / 'waits').touch()
  pod = start_pod(jobset, cloud)
  while 'waiting' not in pod.stdout.readline():
    pass
  # In the instant before it waits, bash hears no signal until its child ends.
  time.sleep(0.5)
  pod.send_signal(signal.SIGTERM)
  output, _ = pod.communicate(timeout=30)
  assert 'SIGTERM: saving' in output
  assert pod.returncode == 143
