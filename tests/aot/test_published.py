"""What README and docs/ say that fits, and what they tell people to type.

Minutes each on a small machine, as whole models are compiled: `make aot-slow`.
"""

import re
import shlex

import pytest

from docs.make_accelerators import ROWS, get_config, read_rows
from experiments.compiling.ahead import installed_compiler
from experiments.compiling.fitting import Setting, with_setting
from experiments.compiling.stages import Stages
from experiments.compiling.topologies import find_topology
from experiments.host.cache_folder import cache_folder

pytestmark = pytest.mark.slow

# Commands for accelerators, by the document and the devices that it names.
COMMANDS = [
  ('README.md', 'v4-8', '--config.microbatches=4 --data_dir'),
  ('README.md', 'v4-8', 'experiments.preflight'),
  ('docs/accelerators.md', 'v4-8', '--config.microbatches=4 --data_dir'),
]


def memory(config, topology_name):
  """What an update of a config needs, as early as the compiler says it."""
  kept = cache_folder() / 'preflight'
  compiler, _ = installed_compiler(find_topology(topology_name), Stages(), kept)
  programs = compiler.lower(config)
  return compiler.memory(programs.update, 'Memory of the update')


@pytest.mark.parametrize(
  'row',
  [row for row in read_rows() if row['fits']],
  ids=lambda row: f'{row["config"]} on {row["topology"]}',
)
def test_rows_fit_as_documented(row):
  settings = row['settings']
  setting = Setting(
    settings['compute_dtype'],
    settings['rematerialize'],
    None,
    settings['microbatches'],
  )
  found = memory(
    with_setting(get_config(row['config']), setting), row['topology']
  )
  assert found.fits
  assert found.peak < 1.05 * row['peak']


@pytest.mark.parametrize(('document', 'topology', 'words'), COMMANDS)
def test_commands_fit(document, topology, words):
  text = (ROWS.parents[1] / document).read_text().replace('\\\n', ' ')
  commands = [
    line
    for line in text.splitlines()
    if line.strip().startswith('python -m experiments.')
    and words in re.sub(' +', ' ', line)
  ]
  assert commands
  for command in commands:
    config, microbatches = _flags(command)
    config = get_config(config)
    config.microbatches = microbatches
    assert memory(config, topology).fits


def _flags(command):
  """Config and microbatches of a command."""
  flags = dict(
    word.removeprefix('--').split('=')
    for word in shlex.split(command)
    if '=' in word
  )
  name = re.fullmatch(r'experiments/configs/(\w+)\.py', flags.pop('config'))[1]
  microbatches = int(flags.pop('config.microbatches'))
  assert not [flag for flag in flags if flag.startswith('config.')]
  return name, microbatches
