"""Curves of a run, or of several in one chart."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from experiments.pages.charts import Line, line_chart, stacked_chart
from experiments.pages.tables import Html
from experiments.reporting.history import History

_SOURCES = {
  'train': 'training',
  'eval': 'held out',
  'eval_ema': 'held out, averaged weights',
}
# At the end of a run: of the best checkpoint, and of what it is compared with.
_TESTED = {'test': 'test', 'classical': 'a cheap classical model'}
# What a loop says of itself, not of the task.
_TECHNICAL = re.compile(
  r'learning_rate|.*_norm|seconds_.*|examples_.*|.*memory.*|bad_steps|spikes'
  r'|skipped_examples|data_wait|teraflops_.*|share_of_peak'
  r'|(gradient_norm|activation.*)/.*'
)
_TIMES = {
  'seconds_per_step_device': 'steps on the device',
  'seconds_per_step_data_wait': 'waiting for data',
  'seconds_per_step_checkpoint': 'waiting for checkpoints',
}
_PROBLEMS = {
  'bad_steps': 'Steps that were not finite',
  'spikes': 'Steps that were left out as spikes',
  'skipped_examples': 'Examples that could not be read',
}
_MODULES_OF_A_CHART = 4
_BY_MODULE = {
  'gradient_norm': 'Norm of the gradient',
  'activation': 'Mean magnitude of what modules return',
  'activation_zeros': 'Share of zeros',
  'activation_not_finite': 'Share that is not finite',
}


class Chart(NamedTuple):
  """A chart of one metric.

  Attributes:
    metric: without 'train/'.
    title: of the chart.
    is_log: whether y is logarithmic.
    from_zero: whether y begins at 0.
    scale: factor of the values.
  """

  metric: str
  title: str
  is_log: bool = False
  from_zero: bool = False
  scale: float = 1.0


_OPTIMIZATION = (
  Chart('learning_rate', 'Learning rate', from_zero=True),
  Chart('gradient_norm', 'Norm of the gradient', is_log=True),
  Chart('parameter_norm', 'Norm of the parameters'),
)
_THROUGHPUT = (
  Chart('examples_per_second', 'Examples a second', from_zero=True),
  Chart('seconds_per_step', 'Milliseconds a step', from_zero=True, scale=1e3),
)
_SPEED = (
  Chart('teraflops_per_device', 'TFLOP/s of a device', from_zero=True),
  Chart('share_of_peak', 'Share of the peak, %', from_zero=True, scale=100.0),
)
_MEMORY = (
  Chart('memory_peak', 'Most device memory, MB', from_zero=True, scale=1e-6),
  Chart('memory_in_use', 'Device memory, MB', from_zero=True, scale=1e-6),
  Chart('host_memory', 'Host memory, MB', from_zero=True, scale=1e-6),
)


def metric_title(name: str) -> str:
  """Returns the name of a metric to be read: 'top_5_accuracy' without '_'."""
  words = name.replace('_', ' ')
  return words[:1].upper() + words[1:]


def source_title(prefix: str) -> str:
  """Returns what 'train', 'eval', 'eval_ema', 'test' and such mean."""
  return {**_SOURCES, **_TESTED}.get(prefix, prefix)


def metric_charts(history: History) -> Html:
  """Returns a chart of each metric of the task, training and held out."""
  charts = []
  for metric in task_metrics([history]):
    lines = [
      Line(
        source_title(prefix),
        history.points(f'{prefix}/{metric}'),
        colour,
        has_dots=prefix != 'train',
      )
      for colour, prefix in enumerate(_SOURCES)
    ]
    charts.append(_metric_chart(metric, lines))
  return _charts(charts)


def overlaid_charts(histories: Mapping[str, History]) -> Html:
  """Returns a chart of each held-out metric and of the training loss."""
  charts = []
  for metric in task_metrics(list(histories.values())):
    for prefix in _SOURCES:
      if prefix == 'train' and metric != 'loss':
        continue
      lines = [
        Line(name, history.points(f'{prefix}/{metric}'), i, prefix != 'train')
        for i, (name, history) in enumerate(histories.items())
      ]
      charts.append(_metric_chart(metric, lines, f', {source_title(prefix)}'))
  charts += [
    _technical(chart, histories) for chart in (_THROUGHPUT[0], _OPTIMIZATION[0])
  ]
  return _charts(charts)


def optimization_charts(history: History) -> Html:
  """Returns charts of the learning rate and of norms."""
  return _charts([_technical(each, {'': history}) for each in _OPTIMIZATION])


def throughput_charts(history: History) -> Html:
  """Returns charts of speed, of where the time goes, and of memory."""
  parts = [
    Line(title, _scaled(history.points(f'train/{name}'), 1e3), colour)
    for (name, title), colour in zip(_TIMES.items(), (0, 1, 3), strict=True)
  ]
  charts = [_technical(_THROUGHPUT[0], {'': history})]
  if len({len(line.points) for line in parts}) == 1 and parts[0].points:
    charts.append(stacked_chart('Milliseconds a step', parts))
  else:
    charts.append(_technical(_THROUGHPUT[1], {'': history}))
  charts += [_technical(each, {'': history}) for each in (*_SPEED, *_MEMORY)]
  for name, title in _PROBLEMS.items():
    if any(value for _, value in history.points(f'train/{name}')):
      charts.append(
        _technical(Chart(name, title, from_zero=True), {'': history})
      )
  return _charts(charts)


def module_charts(history: History) -> Html:
  """Returns charts of statistics by module, a few modules in each."""
  charts = []
  for kind, title in _BY_MODULE.items():
    prefix = f'modules/{kind}/'
    names = [name for name in history.names() if name.startswith(prefix)]
    for first in range(0, len(names), _MODULES_OF_A_CHART):
      some = names[first : first + _MODULES_OF_A_CHART]
      lines = [
        Line(name.removeprefix(prefix), history.points(name), colour, True)
        for colour, name in enumerate(some)
      ]
      if any(value for line in lines for _, value in line.points):
        is_log = not kind.startswith('activation_')
        charts.append(line_chart(title, lines, is_log=is_log))
  return _charts(charts)


def peak_note(history: History) -> str:
  """Returns what is said of the share of the peak."""
  if not history.points('train/teraflops_per_device'):
    return ''
  shares = [y for _, y in history.points('train/share_of_peak') if y]
  if not shares:
    return 'The share of the peak is unknown: so is the peak of such devices.'
  return f'At the end, {shares[-1]:.1%} of the peak of the devices in bfloat16.'


def task_metrics(histories: Sequence[History]) -> list[str]:
  """Returns the metrics that are of the task, the loss first."""
  names = dict.fromkeys(
    name.partition('/')[2] for each in histories for name in each.names()
  )
  found = [each for each in names if each and not _TECHNICAL.fullmatch(each)]
  return sorted(found, key=lambda name: name != 'loss')


def _metric_chart(metric: str, lines: Sequence[Line], where: str = '') -> str:
  values = [y for line in lines for _, y in line.points if y is not None]
  # Of a loss that falls a long way, the end would be flat.
  is_log = bool(values) and min(values) > 0 and max(values) > 30 * min(values)
  return line_chart(f'{metric_title(metric)}{where}', lines, is_log=is_log)


def _technical(chart: Chart, histories: Mapping[str, History]) -> str:
  lines = [
    Line(name, _scaled(history.points(f'train/{chart.metric}'), chart.scale), i)
    for i, (name, history) in enumerate(histories.items())
  ]
  return line_chart(
    chart.title,
    lines,
    is_log=chart.is_log,
    from_zero=chart.from_zero,
  )


def _scaled(
  points: Sequence[tuple[float, float | None]], scale: float
) -> list[tuple[float, float | None]]:
  return [(x, None if y is None else y * scale) for x, y in points]


def _charts(charts: Sequence[str]) -> Html:
  inner = ''.join(charts)
  return Html(f'<div class="charts">{inner}</div>' if inner else '')
