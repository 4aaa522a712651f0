"""Addresses in place of paths: told apart, refused before anything starts."""

import importlib.util
import pathlib
import re
import subprocess
import sys

import pytest

from experiments.host import addresses

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize(
  'text', ['runs/a', '/data', 'C:/data', 'gs/b', 'a:b/c', './gs:/b', 'x//y']
)
def test_a_path_of_this_machine_stays_as_it_is(text):
  assert not addresses.is_address(text)
  assert addresses.local(text, '--workdir', 'it is small') == pathlib.Path(text)


@pytest.mark.parametrize(
  ('text', 'remedy'),
  [
    ('gs://b/r', 'gcloud storage rsync --recursive gs://b/r FOLDER'),
    (pathlib.Path('gs://b/r'), 'rsync --recursive gs://b/r FOLDER'),
    ('s3://b/r', 'aws s3 sync s3://b/r FOLDER'),
    ('hdfs://b/r', 'Name a path of this machine.'),
    ('file:///b/r', 'Name a path of this machine.'),
  ],
)
def test_an_address_is_refused_with_what_to_do(text, remedy):
  with pytest.raises(ValueError, match=r'--data_dir.*it is small') as refusal:
    addresses.local(text, '--data_dir', 'it is small')
  assert remedy in str(refusal.value)


@pytest.mark.parametrize(
  ('command', 'arguments'),
  [
    ('train', ['--config={digits}', '--data_dir=gs://b/data']),
    ('predict', ['--workdir=runs/a', '--save_to=hdfs://b/seen', 'a.png']),
    ('sweep', ['--table=digits', '--workdir=gs://b/table']),
    ('evaluate', ['--workdir=runs/a', '--compilation_cache=az://b/c']),
  ],
)
def test_a_command_refuses_in_one_line_and_makes_nothing(
  command, arguments, tmp_path
):
  result = subprocess.run(
    [
      *(sys.executable, '-m', f'experiments.{command}'),
      *(
        each.format(digits=ROOT / 'experiments' / 'configs' / 'digits.py')
        for each in arguments
      ),
    ],
    cwd=tmp_path,
    env={
      'PYTHONPATH': str(ROOT),
      'JAX_PLATFORMS': 'cpu',
      'HOME': str(tmp_path),
    },
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 2
  assert result.stdout == ''
  (line,) = result.stderr.splitlines()
  assert re.match(r'Error: .*(is an address|of addresses|expected is)', line)
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
  'text',
  ['gs://b/r', 'gs://Bucket/r', 's3://bucket', 'gs://bucket/', 'gs:///r'],
)
def test_what_is_no_folder_of_a_bucket_is_refused(text):
  with pytest.raises(ValueError, match=r'expected is (gs|s3)://BUCKET/PATH'):
    addresses.place(text, '--workdir')


def test_what_opens_buckets_must_be_installed(monkeypatch):
  find_spec = importlib.util.find_spec
  monkeypatch.setattr(
    importlib.util,
    'find_spec',
    lambda name: None if name in ('gcsfs', 's3fs') else find_spec(name),
  )
  with pytest.raises(ValueError, match=r"gcsfs.*'perceiver-haiku\[buckets\]'"):
    addresses.place('gs://bucket/r', '--workdir')
  with pytest.raises(ValueError, match='s3fs'):
    addresses.place('s3://bucket/r', '--workdir')


def test_one_slash_too_few_is_none():
  path = addresses.place(pathlib.Path('gs://bucket/a/b'), '--workdir')
  assert str(path) == 'gs://bucket/a/b'
