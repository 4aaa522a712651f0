"""How a run came about: its config, its machine, and how to repeat it."""

import html
import json
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from experiments.host.configuration import CONFIG_FILE
from experiments.pages.tables import Html, pairs, table

_OVERRIDE = '--config.'
_NOT_KEPT = 'not kept'


def flat_config(config: ml_collections.ConfigDict) -> dict[str, str]:
  """Returns the values of a config, as JSON, by their paths.

  Args:
    config: of a run.

  Returns:
    Such as `{'encoder.num_latents': '32'}`.
  """
  flat: dict[str, str] = {}
  _flatten(json.loads(config.to_json()), '', flat)
  return flat


def overridden(starts: Sequence[Mapping[str, Any]]) -> set[str]:
  """Returns the paths of the values that were given on the command line."""
  return {
    argument.removeprefix(_OVERRIDE).partition('=')[0]
    for start in starts
    for argument in map(str, start.get('command') or ())
    if argument.startswith(_OVERRIDE)
  }


def config_list(config: ml_collections.ConfigDict, changed: set[str]) -> Html:
  """Returns all of a config, a list a section.

  Args:
    config: of a run.
    changed: paths of values to mark.
  """
  sections: dict[str, list[tuple[str, str]]] = {}
  for path, value in flat_config(config).items():
    section, _, name = path.partition('.')
    section, name = (section, name) if name else ('run', section)
    marked = path in changed
    shown = html.escape(value)
    cell = Html(f'<mark>{shown}</mark>' if marked else shown)
    sections.setdefault(section, []).append((name, cell))
  inner = ''.join(
    f'<div><h3>{html.escape(name)}</h3>{pairs(rows)}</div>'
    for name, rows in sections.items()
  )
  return Html(f'<div class="config">{inner}</div>')


def environment_list(starts: Sequence[Mapping[str, Any]]) -> Html:
  """Returns versions, devices and host of the last start; '' without any."""
  if not starts:
    return Html('')
  return pairs([(name, value) for name, value in facts(starts[-1]).items()])


def facts(start: Mapping[str, Any]) -> dict[str, str]:
  """Returns what is known of the surroundings of a start, by name."""
  versions = start.get('versions')
  versions = versions if isinstance(versions, dict) else {}
  told = {
    'devices': start.get('devices'),
    'processes': start.get('processes'),
    'host': start.get('host'),
    'system': start.get('system'),
    'processors': start.get('cpus'),
    'commit': start.get('commit'),
    **versions,
  }
  return {k: str(v) for k, v in told.items() if v is not None}


def repeat_instructions(
  workdir: pathlib.Path, starts: Sequence[Mapping[str, Any]]
) -> Html:
  """Returns the commands that repeat a run.

  Args:
    workdir: of the run.
    starts: of the run; [] where they were not kept.
  """
  parts = []
  if starts:
    folder = html.escape(str(starts[0].get('folder', _NOT_KEPT)))
    parts.append(
      f'<p>Begun in <code>{folder}</code> by:</p>{_command_of(starts[0])}'
    )
  config = shlex.quote(str(workdir / CONFIG_FILE))
  parts.append(
    '<p>The same values, whatever has become of the config file since:</p>'
    + _command(
      f'mkdir -p runs/again && cp {config} runs/again/\n'
      'python -m experiments.train --workdir=runs/again'
    )
  )
  if len(starts) > 1:
    rows = [
      (
        _time_of(start),
        str(start.get('step', _NOT_KEPT)),
        _words(start),
      )
      for start in starts
    ]
    parts.append('<h3>Starts</h3>')
    parts.append(table(('time', 'step', 'command'), rows, numbers=False))
  return Html(''.join(parts))


def _flatten(tree: Any, path: str, flat: dict[str, str]) -> None:
  if isinstance(tree, dict) and (tree or not path):
    for key, value in tree.items():
      _flatten(value, f'{path}.{key}' if path else key, flat)
  else:
    is_plain = isinstance(tree, str) and tree
    flat[path] = tree if is_plain else json.dumps(tree, ensure_ascii=False)


def _time_of(start: Mapping[str, Any]) -> str:
  return str(start.get('time', _NOT_KEPT)).replace('T', ' ')


def _words(start: Mapping[str, Any]) -> str:
  return shlex.join(map(str, start.get('command') or ()))


def _command_of(start: Mapping[str, Any]) -> str:
  return _command(_words(start) or _NOT_KEPT)


def _command(words: str) -> str:
  return f'<pre class="command">{html.escape(words)}</pre>'
