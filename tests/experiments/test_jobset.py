"""What is applied to a Kubernetes cluster, and what its pods do.

`kubernetes/jobset-*.json.gz` are JobSet's own schemas (openAPIV3Schema of its
custom resource, descriptions left out), of the oldest version that
docs/kubernetes.md admits and of a later one. They hold those of a pod and of a
claim, too.
"""

import functools
import gzip
import json
import pathlib
import re
import signal
import subprocess
import time

import jsonschema
import pytest
import yaml

from tests.experiments.stand_ins import FOLDER, ROOT, make_cloud

SCHEMAS = pathlib.Path(__file__).parent / 'kubernetes'
JOBSETS = ('jobset.yaml', 'jobset_tpu.yaml')
VERSIONS = ('0.6.0', '0.12.0')


def load(name):
  return list(yaml.safe_load_all((FOLDER / name).read_text()))


def strict(schema):
  """Refuses fields that it does not know, as `kubectl apply` does."""
  if isinstance(schema, list):
    return [strict(each) for each in schema]
  if not isinstance(schema, dict):
    return schema
  closed = {key: strict(value) for key, value in schema.items()}
  if 'properties' in schema:
    closed.setdefault('additionalProperties', False)
  return closed


@functools.cache
def schema_of(version):
  path = SCHEMAS / f'jobset-{version}.json.gz'
  return strict(json.loads(gzip.decompress(path.read_bytes())))


def check(value, schema):
  # The schema itself is taken as it is: to check it takes seconds.
  jsonschema.Draft202012Validator(schema).validate(value)


def inside(schema, path):
  for name in path.split('.'):
    schema = schema['items'] if name == '*' else schema['properties'][name]
  return schema


def job_of(jobset):
  (workers,) = jobset['spec']['replicatedJobs']
  return workers['template']['spec']


def container_of(jobset):
  (container,) = job_of(jobset)['template']['spec']['containers']
  return container


@pytest.mark.parametrize('version', VERSIONS)
@pytest.mark.parametrize('name', JOBSETS)
def test_jobset_takes_it(name, version):
  (jobset,) = load(name)
  schema = schema_of(version)
  check(jobset, schema)
  container_of(jobset)['imagePullPolcy'] = 'Always'
  with pytest.raises(jsonschema.ValidationError, match='imagePullPolcy'):
    check(jobset, schema)


def test_a_condition_without_its_status_is_refused():
  (jobset,) = load('jobset.yaml')
  (rule,) = job_of(jobset)['podFailurePolicy']['rules']
  del rule['onPodConditions'][0]['status']
  with pytest.raises(jsonschema.ValidationError, match='status'):
    check(jobset, schema_of('0.6.0'))


def test_kubernetes_takes_the_disk_and_the_pod():
  claim, pod = load('storage.yaml')
  assert [each['apiVersion'] for each in (claim, pod)] == ['v1', 'v1']
  jobs = 'spec.replicatedJobs.*.template.spec.template.spec'
  check(pod['spec'], inside(schema_of('0.12.0'), jobs))
  claims = 'spec.volumeClaimPolicies.*.templates.*.spec'
  check(claim['spec'], inside(schema_of('0.12.0'), claims))
  for name in JOBSETS:
    (jobset,) = load(name)
    volumes = job_of(jobset)['template']['spec']['volumes']
    assert volumes[0]['persistentVolumeClaim'] == {
      'claimName': claim['metadata']['name']
    }
    assert pod['spec']['volumes'] == volumes[:1]


@pytest.mark.parametrize('name', JOBSETS)
def test_a_jobset_agrees_with_itself(name):
  (jobset,) = load(name)
  job = job_of(jobset)
  pod = job['template']['spec']
  container = container_of(jobset)
  assert job['parallelism'] == job['completions'] > 1
  assert job['completionMode'] == 'Indexed'
  # A pod that fails alone must end the run, which JobSet starts again.
  assert job['backoffLimit'] == 0
  assert pod['restartPolicy'] == 'Never'
  assert jobset['spec']['failurePolicy']['maxRestarts'] > 0
  mounted = {mount['name'] for mount in container['volumeMounts']}
  assert mounted == {volume['name'] for volume in pod['volumes']}
  words = container['command']
  assert (ROOT / words[1]).is_file()
  arguments = dict(word.split('=', 1) for word in words[2:])
  assert (ROOT / arguments['--config']).is_file()
  assert arguments['--workdir'].startswith('/shared/')
  assert arguments['--data_dir'].startswith('/shared/')
  if arguments['--multihost'] != 'auto':
    name = jobset['metadata']['name']
    (worker,) = jobset['spec']['replicatedJobs']
    port = container['ports'][0]['containerPort']
    assert arguments['--multihost'] == (
      f'{name}-{worker["name"]}-0-0.{name}:{port},{job["completions"]},'
      '$(JOB_COMPLETION_INDEX)'
    )


def test_chips_are_those_of_the_topology():
  (jobset,) = load('jobset_tpu.yaml')
  job = job_of(jobset)
  selector = job['template']['spec']['nodeSelector']
  rows, columns = selector['cloud.google.com/gke-tpu-topology'].split('x')
  chips = container_of(jobset)['resources']['limits']['google.com/tpu']
  assert job['completions'] * chips == int(rows) * int(columns)


def test_the_image_holds_what_pods_start():
  ignored = (ROOT / '.dockerignore').read_text().split()
  kept = {line[1:] for line in ignored if line.startswith('!')}
  assert '*' in ignored  # Nothing else is copied.
  text = (ROOT / 'Dockerfile').read_text()
  copied = re.search(r'^COPY (.*) \./$', text, re.M)[1].split()
  code = {'experiments', 'perceiver_jax', 'LICENSE', 'NOTICE'}
  assert kept == {*code, *copied}
  assert all((ROOT / name).exists() for name in kept)
  extra = re.search(r'^ARG EXTRA=(\w+)$', text, re.M)[1]
  assert f"'{extra}': [" in (ROOT / 'setup.py').read_text()


def start_pod(tmp_path):
  (jobset,) = load('jobset.yaml')
  words = container_of(jobset)['command']
  return subprocess.Popen(
    [word.replace('$(JOB_COMPLETION_INDEX)', '1') for word in words],
    cwd=ROOT,
    env=make_cloud(tmp_path),
    stdout=subprocess.PIPE,
    text=True,
  )


def test_a_pod_joins_by_its_index_and_ends_as_the_run_does(tmp_path):
  pod = start_pod(tmp_path)
  output, _ = pod.communicate(timeout=300)
  assert pod.returncode == 0
  assert output.startswith(
    'arguments: -u -m experiments.train '
    '--multihost=perceiver-workers-0-0.perceiver:1234,2,1 --config='
  )


def test_a_pod_that_fails_says_how(tmp_path):
  (tmp_path / 'fails').touch()
  pod = start_pod(tmp_path)
  pod.communicate(timeout=300)
  assert pod.returncode == 2


def test_a_pod_that_is_stopped_has_not_finished(tmp_path):
  (tmp_path / 'waits').touch()
  pod = start_pod(tmp_path)
  while 'waiting' not in pod.stdout.readline():
    pass
  # In the instant before it waits, bash hears no signal until its child ends.
  time.sleep(0.5)
  pod.send_signal(signal.SIGTERM)
  output, _ = pod.communicate(timeout=300)
  assert 'SIGTERM: saving' in output
  assert pod.returncode == 143
