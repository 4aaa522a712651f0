"""Your own table: columns of any senses in, columns of answers out.

  python -m experiments.train --config=experiments/configs/table.py \\
    --config.data.table=PATH --config.data.answers=NAME,NAME

PATH is a .csv, .tsv, .jsonl or .parquet file. A cell is a number, a text, a
category, a date, a list, or the name of a file, told from the table's folder.
--config.data.inputs=NAME,NAME says which columns the model sees; without it all
that say something and are no answers. What a column is, is found out, printed,
and changed by writing it behind the name:

  --config.data.inputs="xray:images,ecg:series,notes:text,age:number,sex:category"
  --config.data.answers="diagnosis:class,findings:labels,risk:number"

An empty cell is no input, and training leaves out inputs at the rate
data.drop_rate: rows may have any of them. An answer that a row lacks is not
learned from. data.split names a column with train, val and test in it; without
one a fifth of the rows is held out for the test, drawn by data.validation_seed,
and a tenth of the others chooses the checkpoint. data.group names a column, such
as the patient, whose rows stay together.

What is None here is chosen from the training rows, once, when the run begins,
and stands in the run's config.json.
"""  # noqa: E501

import copy
from typing import Any

import ml_collections
from ml_collections.config_dict import placeholder

from experiments.configs import folder

# Of what folders of files have, that a table says otherwise.
_NOT_OF_COLUMNS = (
  *('name', 'root', 'classes', 'skip_unreadable', 'validation_share'),
  *('validation_seed', 'mixup_alpha', 'mix_probability'),
)
_CELL_CHANNELS = 64
_FOLDERS = {
  'images': 'image',
  'audio': 'audio',
  'video': 'video',
  'points': 'mesh',
  'series': 'timeseries',
  'events': 'events',
}


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = folder.get_config('image')
  for key in ('inputs', 'loss', 'data'):
    del config[key]
  config.task = 'table'
  config.early_stop.metric = 'eval_ema/score'
  config.checkpoints.best_metric = 'eval_ema/score'
  config.data = dict(
    name='table',
    table='',
    inputs=placeholder(str),
    answers='',
    columns=placeholder(tuple),
    split='',
    group='',
    test_share=0.2,
    validation_share=0.1,
    validation_seed=config.get_oneway_ref('seed'),
    drop_rate=0.15,
    skip_unreadable=False,
    senses={
      **{kind: _files(variant) for kind, variant in _FOLDERS.items()},
      'text': _text(),
      **_cells(),
    },
  )
  config.packing = dict(min_padding=4)
  config.queries = dict(num_channels=64)
  config.decoder = dict(num_heads=2, query_residual=True)
  config.loss = dict(balance='uncertainty')
  return config


def _files(variant: str) -> dict[str, Any]:
  """Returns what folders of such files have, and their preprocessor."""
  config = folder.get_config(variant)
  data = {
    key: value
    for key, value in config.data.items()
    if key not in _NOT_OF_COLUMNS
  }
  (elements,) = config.inputs.values()
  return {**data, 'elements': elements.to_dict()}


def _text() -> dict[str, Any]:
  config = folder.get_config('text')
  return dict(
    length=None,
    max_length=config.data.max_length,
    min_share=config.data.min_share,
    elements=config.embedding.to_dict(),
  )


def _cells() -> dict[str, Any]:
  """Returns what becomes of cells that name no files."""
  numbers = dict(
    bins=16,
    center=None,
    spread=None,
    edges=None,
    elements=dict(name='cell_features', num_channels=_CELL_CHANNELS),
  )
  return {
    'number': dict(**copy.deepcopy(numbers), noise=0.0),
    'category': dict(
      names=None,
      max_names=1000,
      other_rate=0.02,
      elements=dict(
        name='cell_embedding', num_rows=None, num_channels=_CELL_CHANNELS
      ),
    ),
    'date': dict(**copy.deepcopy(numbers), day_first=None, has_times=None),
    'list': dict(
      **copy.deepcopy(numbers), noise=0.0, names=None, max_names=1000
    ),
  }
