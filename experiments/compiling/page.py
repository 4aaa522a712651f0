"""The estimates of a compiler as a page to read."""

import collections
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.compiling.costs import ELEMENTS, KERNELS, MOVES, PRODUCTS
from experiments.compiling.fitting import MOST_MEMORY, Tried, setting_text
from experiments.compiling.topologies import Topology

_GIB = 2**30
_MOST_EXCHANGES = 8
_BAR = 24


def render(found: Mapping[str, Any]) -> str:
  """Returns the page.

  Args:
    found: by `estimates.estimate`, and besides: 'config', its name;
      'estimated_by', the compiler; 'notes', lines that it ends with; with
      --fit also 'tried', rows of `tried_row`, and 'command'.
  """
  lines = [
    f'{found["config"]} on {found["hardware"]}',
    f'Estimated by the compiler ({found["estimated_by"]}), not measured.',
    f'Settings: {_settings(found)}.',
    '',
  ]
  if 'tried' in found:
    lines += [*_tried_lines(found), '']
  lines += _memory_lines(found)
  if 'step' in found:
    lines += ['', *_step_lines(found)]
    if 'dearest' in found['step']:
      lines += ['', *_dearest_lines(found['step']['dearest'])]
    lines += ['', *_exchange_lines(found['step'])]
  return '\n'.join([*lines, '', *_closing_lines(found)])


def tried_row(tried: Tried) -> dict[str, Any]:
  """Returns a setting that was tried, for JSON."""
  return {
    **tried.setting._asdict(),
    'peak': tried.memory.peak,
    'fits': tried.memory.fits,
    'seconds': tried.seconds,
    'text': setting_text(tried.setting),
  }


def nothing_fits(tried: Sequence[Tried], topology: Topology) -> str:
  """Returns a message for when nothing that was tried fits.

  Args:
    tried: settings that were compiled.
    topology: that none of them fits.
  """
  known = [each for each in tried if each.memory.peak is not None]
  if not known:
    return (
      f'The compiler for {topology.description()} fails for each setting that '
      'was tried; without --fit it says why.'
    )
  least = min(known, key=lambda each: each.memory.peak)
  return (
    f'Nothing that was tried fits on {topology.description()}. The least that '
    f'a device needs is {_gib(least.memory.peak)} of '
    f'{_gib(topology.hardware.memory)} GiB ({setting_text(least.setting)}). '
    'Use more devices, or a smaller --config.batch_size.'
  )


def _settings(found: Mapping[str, Any]) -> str:
  setting, batch = found['settings'], found['batch']
  way = dict(setting['parallelism'])
  words = [
    f'batch {batch["global"]:,} = {batch["devices"]} x {batch["per_device"]:,}',
    setting['compute_dtype'],
    way.pop('name'),
    *(f'{key} {value}' for key, value in way.items() if value is not None),
    _count(setting['microbatches'], 'microbatch', 'microbatches'),
  ]
  if setting['rematerialize'] is not None:
    words.append(f'rematerialize {setting["rematerialize"]}')
  return ', '.join(words)


def _memory_lines(found: Mapping[str, Any]) -> list[str]:
  memory = found['memory']
  usable, evaluation = memory['usable'], memory['evaluation_peak']
  most = max(memory['peak'], evaluation)
  verdict = 'It fits' if found['fits'] else 'IT DOES NOT FIT'
  lines = [
    f'{verdict}: a device needs {_gib(most)} of {_gib(usable)} GiB '
    f'({most / usable:.0%}).',
    f'  update      {_gib(memory["peak"]):>8} GiB  '
    f'{_bar(memory["peak"] / usable)}',
    *(
      f'    {name:<10}{_gib(memory[name]):>8}'
      for name in ('state', 'batch', 'temporaries')
    ),
    f'  evaluation  {_gib(evaluation):>8} GiB  {_bar(evaluation / usable)}',
  ]
  if not found['fits']:
    lines += [
      'With --fit it looks for microbatches, rematerialisation, shards and a',
      'dtype with which it fits. More devices or a smaller batch help too.',
    ]
  return lines


def _step_lines(found: Mapping[str, Any]) -> list[str]:
  step, least = found['step'], found['operations']['least_seconds']
  if step['seconds'] is None:
    return [
      'This compiler estimates no times. Lower bounds of a step:',
      f'  {_time(least):>10}  operations as in the papers at the best bfloat16 '
      'rate',
      f'  {_time(step["parts"]["collectives"]):>10}  collectives over the '
      'links',
    ]
  seconds = step['seconds']
  lines = [
    f'A step takes {_time(seconds)}: {step["examples_per_second"]:,.0f} '
    f'examples a second, {step["share_of_peak"]:.0%} of the best bfloat16',
    'rate (operations as in the papers).',
  ]
  for name, value in step['parts'].items():
    share = value / seconds
    shown = f'{value:,.3f} s' if seconds >= 1 else _time(value)
    lines.append(f'  {name:<20}{shown:>10} {share:>5.0%}  {_bar(share)}')
  lines += [
    f'The run of {found["train_steps"]:,} steps takes {_days(found["days"])}, '
    'without evaluations,',
    'checkpoints and waiting for data.',
  ]
  if 'evaluation' in found:
    lines.append(
      f'Evaluating a batch takes {_time(found["evaluation"]["seconds"])}.'
    )
  if KERNELS in step['parts']:
    lines.append(
      'Times of kernels are not its: they follow from operations and bytes.'
    )
  if calls := sum(step['calls_without_estimate'].values()):
    lines.append(
      f'Not in it: {calls:,} runs of kernels that do not say what they cost.'
    )
  return lines


def _dearest_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
  model = _common_name([row['part'] for row in rows])
  lines = [
    f'The {len(rows)} dearest parts of a step, ms:',
    '    share       all  products  elements     moves',
  ]
  for row in rows:
    kinds = row['kinds']
    numbers = (
      row['seconds'],
      kinds.get(PRODUCTS, 0.0) + kinds.get(KERNELS, 0.0),
      kinds.get(ELEMENTS, 0.0),
      kinds.get(MOVES, 0.0),
    )
    columns = ''.join(f'{_milliseconds(number):>10}' for number in numbers)
    name = row['part'].removeprefix(f'{model}/')
    lines.append(f'  {row["share"]:>7.1%}{columns}  {name}')
  return lines


def _exchange_lines(step: Mapping[str, Any]) -> list[str]:
  rows = step['exchanges']
  if not rows:
    return ['Devices exchange nothing.']
  lines = [
    f'Collectives of a step: {_bytes(step["exchanged_bytes"])} a device, '
    f'{_time(step["parts"]["collectives"])} if nothing is computed meanwhile.'
  ]
  for row in rows[:_MOST_EXCHANGES]:
    where = 'slices' if row['between_slices'] else 'devices'
    lines.append(
      f'  {_bytes(row["bytes"]):>9}  {row["operation"]} of {row["devices"]} '
      f'{where}, {_count(row["times"], "time", "times")}, arrays up to '
      f'{row["shapes"]}: {row["part"]}'
    )
  if rest := rows[_MOST_EXCHANGES:]:
    nbytes = sum(row['bytes'] for row in rest)
    lines.append(f'  {_bytes(nbytes):>9}  in {len(rest)} others')
  return lines


def _tried_lines(found: Mapping[str, Any]) -> list[str]:
  lines = [
    f'Tried, for at most {MOST_MEMORY:.0%} of the memory: GiB of a device, and '
    'seconds a step of',
    'the most promising.',
  ]
  for row in found['tried']:
    is_known = row['peak'] is not None
    gib = _gib(row['peak']) if is_known else ''
    verdict = '  too large' if is_known else '  the compiler fails'
    verdict = '' if row['fits'] else verdict
    seconds = '' if row['seconds'] is None else f'{row["seconds"]:,.2f} s'
    lines.append(f'  {gib:>8} {seconds:>9}  {row["text"]}{verdict}')
  if 'command' in found:
    lines += ['The fastest that fits, told of below:', f'  {found["command"]}']
  return lines


def _closing_lines(found: Mapping[str, Any]) -> list[str]:
  spent = found['compile_seconds']
  lines = [
    f'Compiled here in {spent["update"]:.0f} s (update) and '
    f'{spent["evaluation"]:.0f} s (evaluation).'
  ]
  return lines + found.get('notes', [])


def _common_name(paths: Sequence[str]) -> str:
  """The first name of most paths: the model's."""
  names = collections.Counter(path.partition('/')[0] for path in paths)
  return names.most_common(1)[0][0]


def _count(number: int, one: str, several: str) -> str:
  return f'{number:,} {one if number == 1 else several}'


def _bar(share: float) -> str:
  filled = min(round(share * _BAR), _BAR)
  return '#' * filled + '.' * (_BAR - filled)


def _gib(size: float) -> str:
  return f'{size / _GIB:,.2f}'


def _bytes(size: float) -> str:
  for unit, name in ((1e9, 'GB'), (1e6, 'MB'), (1e3, 'kB')):
    if size >= unit:
      return f'{size / unit:,.2f} {name}'
  return f'{size:,.0f} B'


def _days(days: float) -> str:
  return f'{days:,.1f} days' if days >= 2 else f'{24 * days:,.1f} hours'


def _milliseconds(seconds: float) -> str:
  milliseconds = 1e3 * seconds
  if milliseconds < 5e-4:
    return '-'
  return f'{milliseconds:,.1f}' if milliseconds >= 1 else f'{milliseconds:.3f}'


def _time(seconds: float) -> str:
  if seconds >= 1:
    return f'{seconds:,.2f} s'
  shown = _milliseconds(seconds)
  return shown if shown == '-' else f'{shown} ms'
