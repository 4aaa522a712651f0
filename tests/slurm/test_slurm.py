"""slurm.sh and slurm.sbatch on a real Slurm, where it is installed: make slurm.

Two nodes of this machine, a process on each, digits for a few steps.
"""

import dataclasses
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = 'experiments/launch/slurm.sh'
# What a person says on the command line of a cluster of other nodes.
OPTIONS = (
  '--gpus-per-node=1',
  '--ntasks-per-node=1',
  '--cpus-per-task=2',
  '--time=60',
)
DIGITS = (
  '--config=experiments/configs/digits.py',
  '--config.batch_size=8',
  '--config.report.seconds=0',
)
ENDLESS = (
  '--config.train_steps=100000',
  '--config.eval_every=100000',
  '--config.checkpoint_every=100000',
)


@dataclasses.dataclass
class Cluster:
  """Jobs of one folder."""

  environment: dict[str, str]
  folder: pathlib.Path

  def run(self, *command: str) -> subprocess.CompletedProcess:
    return subprocess.run(
      command,
      cwd=ROOT,
      env=self.environment | {'JAX_PLATFORMS': 'cpu', 'PYTHON': sys.executable},
      capture_output=True,
      text=True,
      check=False,
    )

  def submit(self, name: str, *arguments: str) -> str:
    """The number of the job."""
    result = self.run(
      *('bash', SCRIPT, *OPTIONS, f'--output={self.folder}/%x-%j.log', '--'),
      *(*DIGITS, *arguments, f'--workdir={self.folder / name}'),
    )
    assert result.returncode == 0, result.stderr
    return re.fullmatch(r'Submitted batch job (\d+)\n', result.stdout)[1]

  def state(self, job: str) -> str:
    """Such as RUNNING, or PENDING:Dependency."""
    text = self.run('scontrol', 'show', 'job', job).stdout
    state, reason = re.search(r'JobState=(\w+) Reason=(\w+)', text).groups()
    return state if reason == 'None' else f'{state}:{reason}'

  def log(self, job: str) -> str:
    return '\n'.join(
      log.read_text() for log in self.folder.glob(f'*-{job}.log')
    )

  def wait(self, holds: Callable[[], bool], job: str) -> None:
    """Raises an AssertionError with the job's log after four minutes."""
    for _ in range(480):
      if holds():
        return
      time.sleep(0.5)
    raise AssertionError(f'{self.state(job)}: {self.log(job)}')

  def wait_for(self, text: str, job: str, times: int = 1) -> None:
    self.wait(lambda: self.log(job).count(text) >= times, job)


@pytest.fixture
def cluster(slurm, tmp_path):
  cluster = Cluster(slurm, tmp_path)
  yield cluster
  cluster.run('scancel', '--me')


def test_runs_share_the_cluster_and_jobs_of_a_run_take_turns(cluster):
  first = cluster.submit('long', *ENDLESS)
  other = cluster.submit('short', '--config.train_steps=4')
  # The same folder, written in another way.
  second = cluster.submit('../' + cluster.folder.name + '/long', *ENDLESS)
  cluster.wait_for('step 100/', first)
  cluster.wait(lambda: cluster.state(other) == 'COMPLETED', other)
  assert '0: Final evaluation' in cluster.log(other)
  assert 'Devices: 2 x cpu' in cluster.log(other)
  assert cluster.state(first) == 'RUNNING'
  assert cluster.state(second) == 'PENDING:Dependency'

  # As Slurm does when a node has died, or another job takes the nodes.
  cluster.run('scontrol', 'requeue', first)
  cluster.wait_for('Resuming from the checkpoint', first)
  saved = re.search(r'SIGTERM: saving step (\d+)', cluster.log(first))[1]
  assert f'Resuming from the checkpoint of step {saved}' in cluster.log(first)
  assert cluster.state(second) == 'PENDING:Dependency'
  cluster.wait_for('examples/s', first, times=2)

  cluster.run('scancel', '--signal=TERM', first)
  cluster.wait(lambda: cluster.state(first) == 'COMPLETED', first)
  saved = re.findall(r'SIGTERM: saving step (\d+)', cluster.log(first))[-1]
  cluster.wait_for('Resuming from the checkpoint', second)
  assert f'Resuming from the checkpoint of step {saved}' in cluster.log(second)


def test_a_run_that_fails_ends_its_job_at_once(cluster):
  job = cluster.submit('fails', '--config.batch_size=7')
  cluster.wait(lambda: cluster.state(job).startswith('FAILED'), job)
  assert 'Error' in cluster.log(job)
