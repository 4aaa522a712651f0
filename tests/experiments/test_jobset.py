"""jobset.yaml: its values, and what its pods do."""

import re
import signal
import subprocess
import time

import pytest
import yaml

from tests.experiments.stand_ins import FOLDER, make_cloud


@pytest.fixture
def cloud(tmp_path):
  return tmp_path, make_cloud(tmp_path)


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
