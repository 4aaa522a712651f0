"""Writes tables to try: rooms of four senses, and masks of digits in pictures.

  python -m experiments.example_table --save_to=tables

writes real files, made of the data that comes with this repository, and their
tables:

  rooms.csv: a recording, a motion, a piece of furniture and a note a row, with
    plain cells; some are empty. What each sense alone can reach is told in
    experiments/datasets/examples/rooms.py.
  rooms_new.csv: rows without answers, with few cells.
  digits_in_pictures.csv: pictures, and masks of the digits in them.
  watch/25/rows.csv and others, where --tables=watch asks for them: motion at
    any times, with 25 % of its steps.
  SOURCES.txt: whose data it is.

What is there already is written again.
"""

from absl import flags

from experiments.datasets.examples.files import write_sources
from experiments.datasets.examples.pictures import write_pictures
from experiments.datasets.examples.rooms import write_rooms
from experiments.datasets.examples.watch_events import write_watch
from experiments.host import addresses, command_line
from experiments.host.save_to import SAVE_TO

_TABLES = flags.DEFINE_multi_enum(
  'tables', ['rooms', 'pictures'], ['rooms', 'pictures', 'watch'], 'Which.'
)
_SEED = flags.DEFINE_integer(
  'seed', 0, 'Of all that is drawn: which examples come together.'
)


def main() -> None:
  """Writes the tables."""
  folder = addresses.local(
    SAVE_TO.value or 'tables', '--save_to', 'files are written one by one'
  )
  folder.mkdir(parents=True, exist_ok=True)
  seed, written = _SEED.value, []
  if 'rooms' in _TABLES.value:
    written += write_rooms(folder, seed)
  if 'pictures' in _TABLES.value:
    written += write_pictures(folder, seed)
  if 'watch' in _TABLES.value:
    written += write_watch(folder)
  for path in [*written, write_sources(folder)]:
    print(path)


if __name__ == '__main__':
  command_line.run(main)
