"""Prints docs/accelerators.md; with --compile, asks the compilers before.

  python -m docs.make_accelerators > docs/accelerators.md
  python -m docs.make_accelerators --compile v4-32 h100:8   (after `make aot`)

What the compilers said is in docs/accelerators.jsonl, a row for each config and
topology. --compile adds the rows that it lacks; to ask anew, remove rows. With
--times programs are compiled to their end, which takes minutes for each, for
the seconds of a step that rows lack.
"""

import argparse
import importlib
import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from docs.accelerators_text import HEAD, NOTES
from experiments.compiling import fitting
from experiments.compiling.ahead import installed_compiler
from experiments.compiling.compilers import use_cpu
from experiments.compiling.stages import Stages
from experiments.compiling.topologies import GpuHosts, find_topology
from experiments.compiling.trials import try_settings
from experiments.host.cache_folder import cache_folder
from experiments.host.configuration import fill_defaults
from experiments.preflight import preflight

ROWS = pathlib.Path(__file__).parent / 'accelerators.jsonl'
CONFIGS = (
  'imagenet',
  'imagenet_io',
  'language',
  'flow',
  'kinetics',
  'audioset',
  'modelnet40',
)
TOPOLOGIES = (
  'v3-8',
  'v4-8',
  'v4-32',
  'v5e-16',
  'v5e-64',
  'v6e-8',
  'h100:8',
)
_GIB = 2**30


def get_config(name: str) -> Any:
  """Returns a published config."""
  module = importlib.import_module(f'experiments.configs.{name}')
  return fill_defaults(module.get_config())


def read_rows() -> list[dict[str, Any]]:
  """Returns what the compilers said."""
  return [
    json.loads(line) for line in ROWS.read_text(encoding='utf-8').splitlines()
  ]


def ask(
  name: str, topology_name: str, known: dict[str, Any] | None, times: bool
) -> dict[str, Any]:
  """Compiles a config as it is, with the fewest microbatches that fit.

  Args:
    name: of the config.
    topology_name: of what it is compiled for.
    known: the row that is there, with the fewest microbatches that may fit;
      None to look for them.
    times: whether to compile to the end, for the seconds of a step.
  """
  stages, topology = Stages(), find_topology(topology_name)
  kept = cache_folder() / 'preflight'
  compiler, versions = installed_compiler(topology, stages, kept)
  config = get_config(name)
  row = {'config': name, 'topology': topology_name, 'estimated_by': versions}
  if config.batch_size % topology.num_devices:
    return row | {'fits': False, 'why': 'the batch cannot be divided'}
  stages.note(f'{name} on {topology_name}')
  best, *_ = try_settings(
    [fitting.own_setting(config)],
    config,
    topology,
    compiler,
    stages,
    fewest=known['settings']['microbatches'] if known else 1,
    most_whole=int(times),
  )
  if not best.memory.fits:
    peak = best.memory.peak
    why = 'the compiler fails' if peak is None else f'{_gib(peak)} GiB'
    return row | {'fits': False, 'why': why}
  config = fitting.with_setting(config, best.setting)
  said = preflight(config, topology, compiler, memory_only=not times)
  return row | _row(said)


def _row(said: dict[str, Any]) -> dict[str, Any]:
  """What the table takes of what preflight says."""
  step = said.get('step', {})
  return {
    'fits': said['fits'],
    'settings': said['settings'],
    'batch': said['batch'],
    'peak': said['memory']['peak'],
    'usable': said['memory']['usable'],
    'seconds': step.get('seconds'),
    'least_seconds': said['operations']['least_seconds'],
    'share_of_peak': step.get('share_of_peak'),
    'exchanged_bytes': step.get('exchanged_bytes'),
    'days': said.get('days'),
    'compile_seconds': round(said['compile_seconds']['update']),
  }


def table(rows: Sequence[dict[str, Any]], topology: str) -> Iterator[str]:
  """Yields the lines of the table of a topology."""
  known = {row['config']: row for row in rows if row['topology'] == topology}
  if not known:
    return
  yield f'\n### {topology}\n'
  yield (
    '| config | examples each | microbatches | GiB | seconds a step | '
    'share of peak | days | compiled in |'
  )
  yield '|---|---:|---:|---:|---:|---:|---:|---:|'
  for name in CONFIGS:
    row = known.get(name)
    if row is None:
      continue
    if not row['fits']:
      yield _line(name, f'does not fit: {row["why"]}', *[''] * 6)
    else:
      yield _line(
        name,
        str(row['batch']['per_device']),
        str(row['settings']['microbatches']),
        f'{_gib(row["peak"])} of {_gib(row["usable"])}',
        *_times(row),
      )


def _times(row: dict[str, Any]) -> tuple[str, ...]:
  if row['seconds'] is None:
    return f'more than {row["least_seconds"]:.2f}', '', '', ''
  return (
    f'{row["seconds"]:.2f}',
    f'{row["share_of_peak"]:.0%}',
    f'{row["days"]:.1f}',
    f'{row["compile_seconds"]} s',
  )


def _gib(size: float) -> str:
  return f'{size / _GIB:.1f}'


def _line(*cells: str) -> str:
  return f'| {" | ".join(cells)} |'


def _add_row(name: str, topology: str, times: bool) -> None:
  """Asks for a row, or for what it lacks, and writes it in its place."""
  rows = {(row['config'], row['topology']): row for row in read_rows()}
  known = rows.get((name, topology))
  if known is not None and not (times and _lacks_times(known)):
    return
  rows[name, topology] = ask(name, topology, known, times)
  text = ''.join(f'{json.dumps(row)}\n' for row in rows.values())
  ROWS.write_text(text, encoding='utf-8')


def _lacks_times(row: dict[str, Any]) -> bool:
  # No compiler estimates the times of GPUs.
  is_gpu = isinstance(find_topology(row['topology']), GpuHosts)
  return row['fits'] and row['seconds'] is None and not is_gpu


def main() -> None:
  """Prints the page, or adds rows to it."""
  parser = argparse.ArgumentParser()
  parser.add_argument('--compile', nargs='*', metavar='TOPOLOGY')
  parser.add_argument('--config', action='append', choices=CONFIGS)
  parser.add_argument('--times', action='store_true')
  arguments = parser.parse_args()
  if arguments.compile is not None:
    use_cpu()
    for topology in arguments.compile or TOPOLOGIES:
      for name in arguments.config or CONFIGS:
        _add_row(name, topology, arguments.times)
    return
  rows = read_rows()
  print(HEAD, end='')
  for topology in TOPOLOGIES:
    for line in table(rows, topology):
      print(line)
  print(NOTES, end='')


if __name__ == '__main__':
  main()
