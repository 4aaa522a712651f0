"""A table of people's own: each row has inputs, any of them, and answers."""

import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.data.dataset import (
  Dataset,
  DataSpec,
  Example,
  Files,
  Form,
  FormCell,
  Source,
)
from experiments.data.modality import View
from experiments.files.prepared import Named, key_of, known_by, prepared
from experiments.host import addresses
from experiments.modalities.senses import columns as kinds_of_columns
from experiments.table.asked import Asked, check_columns, parse_columns
from experiments.table.cells import is_empty
from experiments.table.kinds import guess_answer, guess_inputs, guess_kind
from experiments.table.rows import Rows, read_rows
from experiments.table.splits import Splits, split_rows
from experiments.tasks.table.choosing import Chooser
from experiments.tasks.table.columns import (
  Columns,
  Input,
  answer_cell,
  cell_of,
  made,
)
from experiments.tasks.table.examples import (
  FormRow,
  RowExamples,
  TableRow,
)

EXTENSIONS = ('.csv', '.tsv', '.jsonl', '.ndjson', '.parquet')
_MOST_NAMED = 3


def table(
  data_dir: str | None,
  *,
  table: str,
  inputs: str | None,
  answers: str,
  columns: Sequence[Any] | None,
  split: str,
  group: str,
  test_share: float,
  validation_share: float,
  validation_seed: int,
  drop_rate: float,
  skip_unreadable: bool,
  senses: Mapping[str, Any],
) -> DataSpec:
  """A table of people's own: senses in, answers out.

  Args:
    data_dir: where TFDS keeps what is read of files; None for its own default.
    table: a .csv, .tsv, .jsonl or .parquet file; cells may name files, from
      its folder.
    inputs: columns, with their kinds or without, see `table.asked`; None for
      all that say something and are no answers.
    answers: columns that the model is to answer, likewise.
    columns: all of these with all that was chosen, see `columns.py`; None
      chooses it from the training rows.
    split: column that says which rows train, validate and test; '' draws them.
    group: column whose rows of one value stay together; '' for none.
    test_share: see `split_rows`, like those that follow.
    validation_share: of the training rows.
    validation_seed: of the choice.
    drop_rate: see `RowExamples.augment`.
    skip_unreadable: whether a file that cannot be read counts as an empty cell.
    senses: by kind, see `Chooser`.

  Returns:
    Examples with the arrays of each input, `inputs.KEY...`, as its sense has
    them, and `inputs.KEY.there` bool, False where a row lacks it: its arrays
    are then zeros, and not looked at.
  """
  if not 0.0 <= drop_rate < 1.0:
    raise ValueError(f'data.drop_rate must be in [0, 1), got {drop_rate}.')
  splitting = dict(
    split=split,
    group=group,
    test_share=test_share,
    validation_share=validation_share,
    seed=validation_seed,
  )
  note, num_train = '', None
  if columns is None:
    rows = read_rows(check_table(table))
    asked = _asked(rows, inputs, answers, (split, group))
    splits = _split(rows, asked[1], splitting)
    chooser = Chooser(
      rows, splits.train, senses, skip_unreadable=skip_unreadable
    )
    columns, note = chooser.choose(*asked)
    num_train = len(splits.train)
    note = '\n'.join([*rows.remarks, note, _counts(splits)])
    inputs = _written(asked[0])
  of_inputs, of_answers = of_columns = made(columns)
  examples = RowExamples(of_inputs, of_answers, drop_rate)

  def load() -> Dataset:
    rows = read_rows(check_table(table))
    named = [
      Asked(each['name'], each['kind'], {})
      for each in columns
      if each['role'] == 'answer'
    ]
    sources = _sources(
      rows,
      _split(rows, named, splitting),
      of_columns,
      examples,
      key_of([columns, splitting]),
      skip_unreadable,
      data_dir,
    )
    return Dataset(
      train=sources['train'],
      augment=examples.augment,
      evaluation=sources['test'],
      prepare=examples.prepare,
      validation=sources.get('validation'),
    )

  def read(path: pathlib.Path) -> Sequence[Example]:
    rows = read_rows(path)
    if not any(each.name in rows.columns for each in of_inputs):
      names = ', '.join(each.name for each in of_inputs)
      raise ValueError(f'{path} has none of the columns {names}.')
    return [
      examples.ask(examples.keep(TableRow(rows, number)))
      for number in range(rows.num_rows)
    ]

  def read_form(cells: Mapping[str, Any]) -> Sequence[Example]:
    return [examples.ask(examples.keep(FormRow(cells)))]

  return DataSpec(
    example=examples.spec,
    num_classes=None,
    load=load,
    chosen={'data.columns': tuple(columns), 'data.inputs': inputs},
    note=note,
    files=Files(
      EXTENSIONS, read, form=Form(tuple(map(_cell, of_inputs)), read_form)
    ),
    view=lambda example: _view(of_inputs, example),
    part=lambda example, key: example['inputs'][key],
    num_train=num_train,
  )


def check_table(table: str) -> pathlib.Path:
  """Returns where the table is; raises an error unless there is one."""
  if not table:
    raise ValueError('Name your table by --config.data.table=PATH.')
  return addresses.local(
    table, 'config.data.table', 'its files are read from a disk'
  ).expanduser()


def _asked(
  rows: Rows, inputs: str | None, answers: str, apart: Sequence[str]
) -> tuple[list[Asked], list[Asked]]:
  """Returns inputs and answers with their kinds, guessed where not given."""
  extensions = {
    name: kind.extensions
    for name, kind in kinds_of_columns().items()
    if kind.extensions
  }
  folder = rows.path.parent
  if not answers:
    raise ValueError(
      'Name the columns that the model is to answer by --config.data.answers='
      f'NAME,NAME. {rows.path} has {", ".join(map(repr, rows.names))}.'
    )
  wanted = parse_columns(answers, 'data.answers')
  if inputs:
    given = parse_columns(inputs, 'data.inputs')
  else:
    besides = {*(each.name for each in wanted), *apart}
    guess = guess_inputs(rows, folder, besides, extensions)
    given = [Asked(name, kind, {}) for name, kind in guess.kinds.items()]
    for remark in guess.remarks:
      print(remark, flush=True)
  check_columns(given, wanted, rows.names)
  return (
    [_with_kind(each, rows, guess_kind, extensions) for each in given],
    [_with_kind(each, rows, guess_answer, extensions) for each in wanted],
  )


def _with_kind(
  asked: Asked,
  rows: Rows,
  guess: Callable[..., str],
  extensions: Mapping[str, Sequence[str]],
) -> Asked:
  if asked.kind is not None:
    return asked
  kind = guess(
    asked.name, rows.columns[asked.name], rows.path.parent, extensions
  )
  return asked._replace(kind=kind)


def _written(columns: Sequence[Asked]) -> str:
  """Returns columns as a person would write them."""
  return ','.join(
    '"{}":{}'.format(each.name.replace('"', '""'), each.kind)
    if set(each.name) & set(',:"')
    else f'{each.name}:{each.kind}'
    for each in columns
  )


def _split(
  rows: Rows, answers: Sequence[Asked], splitting: Mapping[str, Any]
) -> Splits:
  """The first answer that has classes or numbers has its share in each."""
  simple = [x.name for x in answers if x.kind in ('class', 'number')]
  stratify = rows.columns.get(simple[0]) if simple else None
  return split_rows(rows, stratify=stratify, **splitting)


def _counts(splits: Splits) -> str:
  counts = [
    f'{len(rows):,} to {use}'
    for use, rows in zip(('train', 'validate', 'test'), splits, strict=True)
    if len(rows)
  ]
  return f'rows: {", ".join(counts)}'


def _sources(
  rows: Rows,
  splits: Splits,
  columns: Columns,
  examples: RowExamples,
  key: str,
  skip_unreadable: bool,
  data_dir: str | None,
) -> dict[str, Source]:
  """Returns what is kept of the rows of each split that has any."""
  numbers = {
    name: found for name, found in splits._asdict().items() if len(found)
  }
  wrong: list[str] = []
  unreadable = wrong.append if skip_unreadable else None
  files = _files(rows, columns, unreadable)

  def kept(found: np.ndarray) -> Iterator[Named]:
    for row in found.tolist():
      yield (
        str(row).encode(),
        examples.keep(TableRow(rows, row), unreadable),
      )

  if files:
    content = [list(rows.columns.items()), list(rows.names)]
    stats = [known_by(path, rows.path.parent) for path in files]
    sources = prepared(
      key_of([key, content, stats, skip_unreadable]),
      rows.path,
      {name: functools.partial(kept, found) for name, found in numbers.items()},
      examples.features,
      counted=f'{rows.num_rows:,} rows with {len(files):,} files',
      data_dir=data_dir,
    )
  else:
    sources = {
      name: [example for _, example in kept(found)]
      for name, found in numbers.items()
    }
  if wrong:
    print(
      f'{len(wrong):,} cells cannot be read and count as empty: '
      f'{"; ".join(wrong[:_MOST_NAMED])}',
      flush=True,
    )
  return sources


def _files(
  rows: Rows,
  columns: Columns,
  unreadable: Callable[[str], None] | None,
) -> list[pathlib.Path]:
  """Returns all files, after a look at whether those of inputs are there."""
  found, wrong = [], []
  for each in columns.inputs:
    if not each.kind.extensions:
      continue
    for row, cell in enumerate(rows.columns[each.name]):
      if is_empty(cell):
        continue
      try:
        path = cell_of(each.kind, rows, each.name, row)
      except ValueError as error:
        wrong.append(str(error))
      else:
        found += [path] if isinstance(path, pathlib.Path) else []
  for each in columns.answers:
    cells = (answer_cell(rows, each.name, row) for row in range(rows.num_rows))
    found += [cell for cell in cells if isinstance(cell, pathlib.Path)]
  if wrong and unreadable is None:
    more = len(wrong) - _MOST_NAMED
    raise ValueError(
      '\n'.join(wrong[:_MOST_NAMED])
      + (f'\nand {more:,} more' if more > 0 else '')
      + '\nSuch cells count as empty with --config.data.skip_unreadable=True.'
    )
  return found


def _cell(column: Input) -> FormCell:
  kind = column.kind
  return FormCell(
    column.name,
    () if kind.is_text else tuple(kind.extensions),
    column.files.chosen.get('data.names', ()),
    kind.is_text,
  )


def _view(inputs: Sequence[Input], example: Example) -> dict[str, View]:
  """Returns what a person sees of the inputs that are there."""
  views = {}
  for each in inputs:
    own = dict(example['inputs'][each.key])
    if own.pop('there'):
      (views[each.key],) = each.files.view(own).values()
  return views
