"""A Slurm of this machine alone: two nodes, whose GPUs are in name only."""

import getpass
import os
import pathlib
import socket
import subprocess
import time

import pytest

# Their names must be found by the processes of a run, as those of a cluster's
# nodes are.
NODES = (socket.gethostname(), 'localhost')
CONFIGURATION = """
ClusterName=test
SlurmctldHost={here}
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
PlugStackConfig=/dev/null
GresTypes=gpu
NodeName={nodes[0]} NodeHostname={here} NodeAddr=127.0.0.1 Port={ports[1]} \
CPUs=16 RealMemory=1000 Gres=gpu:2
NodeName={nodes[1]} NodeHostname={here} NodeAddr=127.0.0.1 Port={ports[2]} \
CPUs=16 RealMemory=1000 Gres=gpu:2
PartitionName=all Nodes=ALL Default=YES
"""


@pytest.fixture(scope='session')
def slurm(tmp_path_factory):
  """Starts the daemons; the environment of commands that talk to them."""
  folder = tmp_path_factory.mktemp('slurm')
  (folder / 'state').mkdir()
  configuration = folder / 'slurm.conf'
  configuration.write_text(
    CONFIGURATION.format(
      folder=folder,
      here=socket.gethostname(),
      nodes=NODES,
      ports=_free_ports(3),
      user=getpass.getuser(),
    )
  )
  (folder / 'gres.conf').write_text('Name=gpu File=/dev/null,/dev/zero\n')
  (folder / 'cgroup.conf').touch()
  environment = os.environ | {'SLURM_CONF': str(configuration)}
  daemons = []
  try:
    for command in _commands(folder, configuration):
      with open(folder / 'daemons.log', 'a') as log:
        daemons.append(
          subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        )
      time.sleep(1.0)
    _wait_for_nodes(environment, folder)
    yield environment
  finally:
    for daemon in reversed(daemons):
      daemon.terminate()
    for daemon in daemons:
      daemon.wait(timeout=60)


def _commands(
  folder: pathlib.Path, configuration: pathlib.Path
) -> list[list[str]]:
  key = folder / 'munge.key'
  key.write_bytes(os.urandom(256))
  key.chmod(0o400)
  files = ('key-file=munge.key', 'log-file=munge.log', 'pid-file=munge.pid')
  files += ('seed-file=munge.seed', 'socket=munge.socket')
  munge = [f'--{file.replace("=", f"={folder}/")}' for file in files]
  return [
    ['munged', '--foreground', '--force', *munge],
    ['slurmctld', '-D', '-i', '-f', str(configuration)],
    *(['slurmd', '-D', '-f', str(configuration), '-N', node] for node in NODES),
  ]


def _wait_for_nodes(environment: dict[str, str], folder: pathlib.Path) -> None:
  for _ in range(120):
    states = subprocess.run(
      ['sinfo', '--noheader', '--Node', '--format=%T'],
      env=environment,
      capture_output=True,
      text=True,
      check=False,
    ).stdout.split()
    if states == ['idle'] * len(NODES):
      return
    time.sleep(0.5)
  logs = [log.read_text()[-3000:] for log in folder.glob('*.log')]
  raise AssertionError('\n'.join([f'Nodes are {states}.', *logs]))


def _free_ports(count: int) -> list[int]:
  probes = [socket.socket() for _ in range(count)]
  for probe in probes:
    probe.bind(('127.0.0.1', 0))
  ports = [probe.getsockname()[1] for probe in probes]
  for probe in probes:
    probe.close()
  return ports
