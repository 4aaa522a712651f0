"""Addresses in place of paths: told apart, refused before anything starts."""

import pathlib
import subprocess
import sys

import pytest

from experiments import addresses

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize(
  'text', ['runs/a', '/data', 'C:/data', 'gs/b', 'a:b/c', './gs:/b', 'x//y']
)
def test_a_path_of_this_machine_stays_as_it_is(text):
  assert not addresses.is_address(text)
  assert addresses.local(text, '--workdir') == pathlib.Path(text)


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
  with pytest.raises(ValueError, match='--data_dir') as refusal:
    addresses.local(text, '--data_dir')
  assert remedy in str(refusal.value)


@pytest.mark.parametrize(
  ('command', 'arguments'),
  [
    ('train', ['--config={digits}', '--data_dir=gs://b/data']),
    ('train', ['--config={folder}:image', '--config.data.root=gs://b/data']),
    ('predict', ['--workdir=runs/a', '--save_to=s3://b/seen', 'seven.png']),
    ('sweep', ['--table=digits', '--workdir=gs://b/table']),
  ],
)
def test_a_command_refuses_in_one_line_and_makes_nothing(
  command, arguments, tmp_path
):
  configs = ROOT / 'experiments' / 'configs'
  result = subprocess.run(
    [
      *(sys.executable, '-m', f'experiments.{command}'),
      *(
        each.format(digits=configs / 'digits.py', folder=configs / 'folder.py')
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
  assert line.startswith('Error: ') and 'this is an address' in line
  assert list(tmp_path.iterdir()) == []
