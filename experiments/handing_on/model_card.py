"""The model card of an export: what the model is, where from, what it takes.

Everything in it is read: from the config, the metrics and the weights of the
run, and from what its data set says of itself.
"""

import importlib.metadata
import platform
import re
from collections.abc import Mapping, Sequence
from typing import Any

import haiku as hk
import jax
import ml_collections
from jax import export

from experiments.handing_on.data_notes import DataNotes, data_notes
from experiments.handing_on.markdown import block, bullets, items, options_of
from experiments.handing_on.run_notes import result_notes, training_notes
from experiments.handing_on.window import own_window
from experiments.runs.trained import TrainedRun

_MOST_CLASSES = 30
_AGAIN = 'Train it again, or go on'


def model_card(
  run: TrainedRun,
  exported: export.Exported,
  files: Mapping[str, str],
  *,
  weights_inside: bool,
) -> str:
  """Returns the card as Markdown.

  Args:
    run: that was exported.
    exported: what was exported of it.
    files: what each file of the folder is, by its name.
    weights_inside: whether the weights are in the function.
  """
  inputs = _inputs(exported)
  outputs = jax.tree.unflatten(exported.out_tree, exported.out_avals)
  notes = data_notes(run.task.data)
  sections = [
    ('Files', [items(files)]),
    ('Use', _use(inputs, weights_inside)),
    ('Inputs', [_arrays(inputs), notes.examples]),
    ('Outputs', [_arrays(outputs), run.task.answer.outputs, _classes(run)]),
    ('Data', _data(run.config, notes)),
    ('Training', [training_notes(run)]),
    ('Results', result_notes(run)),
    ('Limits', [_limits(exported)]),
    (_AGAIN, _again(run.config, weights_inside)),
  ]
  return _paragraphs(
    [*_summary(run), *(_section(*section) for section in sections)]
  )


def renewed_card(
  card: str, exported: export.Exported, config: ml_collections.ConfigDict
) -> str:
  """Returns a card whose function was written anew; the weights lie beside it.

  Args:
    card: as it was, perhaps with words of others.
    exported: the new function.
    config: of the run.

  Returns:
    The same, but for the sections that depend on which jax is there.
  """
  anew = {
    'Use': _use(_inputs(exported), weights_inside=False),
    'Limits': [_limits(exported)],
    _AGAIN: _again(config, weights_inside=False),
  }
  summary, *sections = re.split(r'^## ', card, flags=re.MULTILINE)
  paragraphs = [summary.strip()]
  for section in sections:
    title, _, text = section.partition('\n')
    paragraphs.append(_section(title, anew.get(title, [text.strip()])))
  return _paragraphs(paragraphs)


def _section(title: str, texts: Sequence[str]) -> str:
  return _paragraphs([f'## {title}', *texts]).rstrip()


def _paragraphs(texts: Sequence[str]) -> str:
  return '\n\n'.join(filter(None, texts)) + '\n'


def _inputs(exported: export.Exported) -> Mapping[str, Any]:
  arguments, _ = jax.tree.unflatten(exported.in_tree, exported.in_avals)
  return arguments[-1]


def _summary(run: TrainedRun) -> list[str]:
  size = hk.data_structures.tree_size(run.params)
  return [
    f'# {run.workdir.absolute().name}',
    f'{_model_name(run.config)} for {run.task.answer.purpose}, trained on '
    f'`{run.config.data.name}`: {size:,} parameters, step {run.step:,}.',
  ]


def _model_name(config: ml_collections.ConfigDict) -> str:
  if 'baseline' in config:
    return f'A baseline, `{config.baseline.name}`,'
  if 'decoder' in config:
    return 'A Perceiver IO ([2107.14795](https://arxiv.org/abs/2107.14795))'
  return 'A Perceiver ([2103.03206](https://arxiv.org/abs/2103.03206))'


def _use(inputs: Mapping[str, Any], weights_inside: bool) -> list[str]:
  arrays = ', '.join(
    f"'{name}': np.zeros({(1, *x.shape[1:])}, np.{x.dtype})"
    for name, x in inputs.items()
  )
  safetensors = '' if weights_inside else ' safetensors'
  return [
    'Neither the package that trained it nor Haiku is needed:',
    block(
      'sh',
      f"pip install 'jax>={jax.__version__}' flatbuffers numpy{safetensors}",
      'python load.py inputs.npz outputs.npz',
    ),
    block(
      'python',
      'import numpy as np',
      'from load import load',
      '',
      'model = load()  # Compiled once for each size of a batch.',
      f'outputs = model({{{arrays}}})',
    ),
  ]


def _arrays(arrays: Mapping[str, Any]) -> str:
  rows = [
    f'| `{name}` | {x.dtype} | [{", ".join(map(str, x.shape))}] |'
    for name, x in arrays.items()
  ]
  return '\n'.join(['| array | dtype | shape |', '|---|---|---|', *rows])


def _classes(run: TrainedRun) -> str:
  names = run.task.data.class_names
  if not names:
    return ''
  if len(names) > _MOST_CLASSES:
    return f'The {len(names)} classes are in `classes.txt`, one a line.'
  return f'Classes, from 0 on: {", ".join(names)}.'


def _data(config: ml_collections.ConfigDict, notes: DataNotes) -> list[str]:
  licence = ['No source or licence is known here but what is said above.']
  if notes.notices:
    licence = ['Source and licence, from the NOTICE of the package:']
    licence += [block('text', notice) for notice in notes.notices]
  return [
    notes.about,
    f'Made with {options_of(config.data.to_dict())}.',
    *licence,
  ]


def _limits(exported: export.Exported) -> str:
  window = own_window()
  return bullets(
    'The numbers above are of held-out examples of the same data. What the '
    'model makes of others was not measured.',
    'Inputs must be made as those of training were, see above; the model gives '
    'an answer to anything.',
    'Batches are of any size; every other axis is as in the tables.',
    f'It runs on {", ".join(exported.platforms)}. Accelerators multiply with '
    'less than float32 unless told not to by '
    "`jax.config.update('jax_default_matmul_precision', 'highest')`.",
    f'`model.jaxexport` was written by jax {jax.__version__}. jax '
    '[promises](https://docs.jax.dev/en/latest/export/export.html'
    '#compatibility-guarantees) that its releases from '
    f'{window.first} to {window.last} open it. Others may refuse: `load.py` '
    'then says what to do, and `python -m experiments.export --renew=FOLDER` '
    'writes it anew from the weights.',
  )


def _again(
  config: ml_collections.ConfigDict, weights_inside: bool
) -> list[str]:
  lines = [
    'Where the package is installed, in this folder:',
    block(
      'sh',
      'mkdir -p runs/again && cp config.json runs/again/',
      'python -m experiments.train --workdir=runs/again',
    ),
  ]
  if 'finetuning' in config:
    lines.append(f'It begins with the run in `{config.finetuning.workdir}`.')
  if not weights_inside:
    lines += [
      'The weights become a run again, to evaluate or to go on from:',
      block(
        'sh',
        'python -m experiments.import_weights --source=weights.safetensors \\',
        '  --workdir=runs/imported',
      ),
    ]
  versions = ', '.join(
    f'{name} {importlib.metadata.version(name)}'
    for name in ('jax', 'jaxlib', 'dm-haiku', 'numpy')
  )
  return [
    *lines,
    f'Exported with Python {platform.python_version()}, {versions}.',
  ]
