"""Launchers of clusters, with stand-ins. `make slurm` asks Slurm itself."""

import re
import subprocess

import pytest

from tests.experiments.stand_ins import FOLDER, ROOT, make_cloud


@pytest.fixture
def cloud(tmp_path):
  return tmp_path, make_cloud(tmp_path)


@pytest.mark.parametrize(
  'name', ['tpu_vm.sh', 'slurm.sh', 'slurm.sbatch', 'pod.sh']
)
def test_shell_files_parse(name):
  result = subprocess.run(
    ['bash', '-n', FOLDER / name], capture_output=True, text=True, check=False
  )
  assert result.returncode == 0, result.stderr
  assert not result.stderr


@pytest.mark.parametrize('name', ['tpu_vm.sh', 'slurm.sbatch', 'pod.sh'])
def test_what_is_started_exists(name):
  text = (FOLDER / name).read_text()
  (module,) = set(re.findall(r'-m (experiments\.\w+)', text))
  assert (ROOT / module.replace('.', '/')).with_suffix('.py').exists()
  configs = set(re.findall(r'experiments/configs/\w+\.py', text))
  assert all((ROOT / config).exists() for config in configs)
  assert (ROOT / re.search(r'docs/\w+\.md', text)[0]).exists()


def bash(cloud, name, *arguments, **changes):
  return subprocess.run(
    ['bash', FOLDER / name, *arguments],
    cwd=cloud[0],
    env=cloud[1] | {'PYTHON': 'python'} | changes,
    capture_output=True,
    text=True,
    check=False,
  )


def test_a_job_is_named_after_its_workdir(cloud):
  def submitted(*arguments):
    result = bash(cloud, 'slurm.sh', *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()

  name, *rest = submitted(
    '--nodes=4', '--comment=a b', '--', '--config=a b', '--workdir=runs/x'
  )
  assert re.fullmatch(r'--job-name=x-\d+', name)
  assert rest == [
    '--dependency=singleton',
    '--nodes=4',
    '--comment=a b',
    str(FOLDER / 'slurm.sbatch'),
    '--config=a b',
    '--workdir=runs/x',
  ]
  assert submitted('--', f'--workdir={cloud[0]}/a/../runs/x')[0] == name
  others = ['runs/y/x', 'gs://bucket/runs/x', 's3://bucket/runs/x', 'runs/z']
  names = [submitted('--', f'--workdir={other}')[0] for other in others]
  assert len({name, *names}) == 5


@pytest.mark.parametrize(
  ('arguments', 'changes', 'message'),
  [
    ([], {}, 'slurm.sh [--OPTION-OF-sbatch ...] --'),
    (['--config=a', '--workdir=b'], {}, 'slurm.sh [--OPTION-OF-sbatch ...] --'),
    (['--', '--config=a'], {}, 'After --, say --workdir=FOLDER.'),
    (['--', '--workdir=a'], {'PYTHON': 'no'}, 'There is no no in '),
  ],
)
def test_what_is_missing_is_said(cloud, arguments, changes, message):
  result = bash(cloud, 'slurm.sh', *arguments, **changes)
  assert result.returncode == 2
  assert message in result.stderr
  assert not result.stdout


def test_without_slurm_it_is_said(cloud):
  (cloud[0] / 'bin' / 'sbatch').unlink()
  result = bash(cloud, 'slurm.sh', '--', '--workdir=a')
  assert (result.returncode, result.stdout) == (2, '')
  assert 'There is no sbatch here.' in result.stderr


def test_slurm_starts_a_process_for_each_gpu(cloud):
  result = bash(cloud, 'slurm.sbatch', '--config=a b')
  assert result.returncode == 2
  assert 'SLURM_CPUS_PER_TASK is not set' in result.stderr
  result = bash(cloud, 'slurm.sbatch', '--config=a b', SLURM_CPUS_PER_TASK='8')
  assert result.stdout.splitlines() == [
    '--cpus-per-task=8',
    '--gpu-bind=none',
    '--kill-on-bad-exit=1',
    '--label',
    'python',
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
