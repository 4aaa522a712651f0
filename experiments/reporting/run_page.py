"""The report of a run: one page."""

import datetime
import html
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import ml_collections

from experiments.host.buckets import modified
from experiments.host.configuration import read_config
from experiments.pages.axes import number
from experiments.pages.page import Section, page, tiles
from experiments.pages.tables import Html, metric_cell, table
from experiments.reporting import background, curves
from experiments.reporting.examples import example_cards
from experiments.reporting.held_out import Gallery
from experiments.reporting.history import (
  History,
  best_evaluation,
  best_metric,
  evaluation_of,
  read_history,
  tested,
)
from experiments.runs.evaluation import Look
from experiments.tasks.task import Task
from experiments.watching.starts import read_starts

_MOST_TILES = 4


class RunFiles(NamedTuple):
  """What a run left in its folder, besides its checkpoints.

  Attributes:
    workdir: the folder.
    config: of the run.
    history: its metrics.
    starts: see `read_starts`.
  """

  workdir: pathlib.Path
  config: ml_collections.ConfigDict
  history: History
  starts: Sequence[dict[str, Any]]


class Seen(NamedTuple):
  """What a run makes of held-out examples.

  Attributes:
    task: of the run.
    look: at all of them.
    examples: to show; None for none.
    attention: drawings of what the latents look at; '' for none.
  """

  task: Task
  look: Look
  examples: Gallery | None = None
  attention: Html = Html('')


def read_run(workdir: pathlib.Path) -> RunFiles:
  """Reads what a run left in its folder.

  Raises:
    FileNotFoundError: there is no run.
  """
  return RunFiles(
    workdir, read_config(workdir), read_history(workdir), read_starts(workdir)
  )


def run_page(
  files: RunFiles, seen: Seen | None = None, why_not: str = ''
) -> str:
  """Returns the report of a run as HTML.

  Args:
    files: of the run.
    seen: what it makes of held-out examples; None leaves these sections out.
    why_not: why there are no examples, where there are none.
  """
  history, config = files.history, files.config
  sections = [
    _curves(history),
    Section('Final metrics', _metrics_table(history, config)),
    *_held_out_sections(seen, why_not),
    Section(
      'Throughput',
      curves.throughput_charts(history),
      curves.peak_note(history),
    ),
    Section('Optimisation', curves.optimization_charts(history)),
    Section('By module', curves.module_charts(history)),
    *_background_sections(files),
  ]
  return page(
    files.workdir.absolute().name,
    _subtitle(files),
    _tiles(history, config),
    sections,
  )


def metric_name(name: str) -> str:
  """Returns 'eval/top_5_accuracy' as 'top 5 accuracy, held out'."""
  prefix, _, metric = name.partition('/')
  return f'{metric.replace("_", " ")}, {curves.source_title(prefix)}'


def _held_out_sections(seen: Seen | None, why_not: str) -> list[Section]:
  if seen is None or not len(seen.look.each.numbers):
    missing = Html(f'<p class="note">{html.escape(why_not)}</p>')
    return [Section('Held-out examples', missing if why_not else Html(''))]
  told = _told(seen.look)
  note = f'Of {told}, at step {seen.look.step:,}'
  counted = seen.task.answer.held_out
  sections = counted.sections(seen.look.each.kept, note) if counted else []
  if why_not:
    sections.append(
      Section('Examples', Html(f'<p class="note">{html.escape(why_not)}</p>'))
    )
  if seen.examples is not None:
    titles = {
      'Worst examples': f'The highest losses of {told}.',
      'Typical examples': f'Losses about the median of {told}.',
      'Best examples': f'The lowest losses of {told}.',
      'Other examples': 'Not of the held-out ones.',
    }
    sections += [
      Section(title, example_cards(seen.task, some), told)
      for (title, told), some in zip(titles.items(), seen.examples, strict=True)
    ]
  sections.append(
    Section('Attention', seen.attention, 'What the latents look at.')
  )
  return sections


def _told(look: Look) -> str:
  seen, total = len(look.each.numbers), look.total
  told = f'all {total:,}' if seen == total else f'{seen:,} of the {total:,}'
  told = f'{told} held-out examples'
  if look.unreadable:
    told = f'{told} (some cannot be read: {look.unreadable})'
  return told


def _metrics_table(history: History, config: ml_collections.ConfigDict) -> Html:
  """Held-out metrics of the last and of the best evaluation."""
  evaluations = history.evaluations()
  if not evaluations:
    return Html('')
  last, best = evaluations[-1], best_evaluation(history, config)
  columns = {f'last, step {last["step"]:,}': last}
  if best is not None:
    columns[f'best, step {best["step"]:,}'] = best
  rows = [
    (
      metric_name(name),
      *(metric_cell(each.get(name)) for each in columns.values()),
    )
    for name in evaluation_of(last)
  ]
  chosen, _ = best_metric(config)
  note = '' if best is None else f'The best is chosen by {metric_name(chosen)}.'
  body = table(('metric', *columns), rows)
  return Html(f'<p class="note">{note}</p>{body}')


def _tiles(history: History, config: ml_collections.ConfigDict) -> Html:
  """The metrics of the best checkpoint, that it was chosen by first."""
  best = best_evaluation(history, config)
  evaluations = history.evaluations()
  row = best or (evaluations[-1] if evaluations else {})
  chosen, _ = best_metric(config)
  found = [
    *_in_order(tested(history), chosen),
    *_in_order(evaluation_of(row), chosen),
  ]
  return tiles(
    [(number(value), metric_name(name)) for name, value in found[:_MOST_TILES]]
  )


def _in_order(
  metrics: Mapping[str, float | None], chosen: str
) -> list[tuple[str, float | None]]:
  """The metric that checkpoints are chosen by first, losses of parts last."""

  def place(found: tuple[str, float | None]) -> tuple[bool, bool]:
    _, _, name = found[0].partition('/')
    is_of_part = '/' in name and name.endswith('/loss')
    return name != chosen.partition('/')[2], is_of_part

  return sorted(metrics.items(), key=place)


def _subtitle(files: RunFiles) -> str:
  """Step, duration, data, date: a line."""
  rows, config = files.history.rows, files.config
  step = rows[-1]['step'] if rows else 0
  parts = [
    f'{config.task} on {config.get("data", {}).get("name", "no data")}',
    f'step {step:,} of {config.train_steps:,}',
  ]
  seconds = files.history.seconds()
  if seconds is not None:
    parts.append(f'{_duration(seconds)} of training')
  if files.starts:
    parts.append(str(files.starts[-1].get('devices', '')))
  parts.append(_date(files.workdir))
  return ' · '.join(part.replace('_', ' ') for part in parts if part)


def _duration(seconds: float) -> str:
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f'{hours} h {minutes:02} min'
  return f'{minutes} min {seconds:02} s' if minutes else f'{seconds} s'


def _date(workdir: pathlib.Path) -> str:
  """When the run last wrote metrics."""
  path = workdir / 'metrics.jsonl'
  if not path.exists():
    return ''
  time = datetime.datetime.fromtimestamp(modified(path), datetime.UTC)
  return time.strftime('%-d %B %Y')


def _curves(history: History) -> Section:
  note = ''
  if history.broken:
    note = f'{history.broken:,} line(s) of metrics.jsonl could not be read.'
  charts = curves.metric_charts(history)
  return Section('Curves', charts or Html('<p>There are no metrics.</p>'), note)


def _background_sections(files: RunFiles) -> list[Section]:
  changed = background.overridden(files.starts)
  note = 'Marked values were given on the command line.' if changed else ''
  return [
    Section('Config', background.config_list(files.config, changed), note),
    Section('Environment', background.environment_list(files.starts)),
    Section(
      'Repeat',
      background.repeat_instructions(files.workdir, files.starts),
    ),
  ]
