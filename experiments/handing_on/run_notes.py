"""What a run's folder tells of how it was trained, and how good it became."""

import statistics

from experiments.handing_on.markdown import items, options_of
from experiments.reporting.history import (
  best_evaluation,
  best_metric,
  evaluation_of,
  read_history,
  tested,
)
from experiments.runs.trained import TrainedRun


def training_notes(run: TrainedRun) -> str:
  """Returns how a run was trained, as a list in Markdown."""
  config, history = run.config, read_history(run.workdir)
  if not history.rows:
    return 'The run has no metrics: its weights were imported.'
  lines = {
    'Steps': f'{run.step:,} of {config.train_steps:,}, batches of '
    f'{config.batch_size:,}: {run.step * config.batch_size:,} examples',
    'Optimizer': options_of(config.optimizer.to_dict()),
    'Learning rate': options_of(config.schedule.to_dict()),
    'Computed in': f'{config.compute_dtype}, parameters in float32',
    'Seed': str(config.seed),
  }
  if config.ema_decay:
    lines['Average of the parameters'] = f'decay {config.ema_decay}'
  if 'finetuning' in config:
    lines['Began as'] = f'the run {config.finetuning.workdir}'
  if total := history.seconds():
    points = history.points('train/seconds_per_step')
    median = statistics.median(x for _, x in points if x is not None)
    lines['Time'] = (
      f'{median:.3g} s a step, the median, and {total / 60:,.0f} minutes in '
      'all; the run does not keep on which devices'
    )
  return items(lines)


def result_notes(run: TrainedRun) -> list[str]:
  """Returns what was measured at the step of a run, as Markdown paragraphs."""
  history = read_history(run.workdir)
  rows = {row['step']: evaluation_of(row) for row in history.evaluations()}
  measured = rows.get(run.step)
  if not measured:
    return ['Nothing was measured at this step.']
  best_row = best_evaluation(history, run.config)
  found = {}
  if best_row is not None and best_row['step'] == run.step:
    found = tested(history)  # Of the best checkpoint, once, at the end.
  measured = found | measured
  table = [
    '| metric of the held-out examples | |',
    '|---|---|',
    *(f'| `{name}` | {_number(x)} |' for name, x in sorted(measured.items())),
  ]
  best, _ = best_metric(run.config)
  kept = 'are the parameters'
  if best.startswith('eval_ema/'):
    kept = 'is the average of the parameters'
  judged = (
    'those of `test/...` are of examples that had no part in that.'
    if found
    else 'where the best of them was taken, its numbers are a little too good.'
  )
  return [
    '\n'.join(table),
    f'Exported {kept} at step {run.step:,}. Checkpoints were compared '
    f'by `{best}` in {len(rows)} evaluations of the same held-out '
    f'examples; {judged}',
  ]


def _number(value: float | None) -> str:
  return 'not finite' if value is None else f'{value:.4g}'
