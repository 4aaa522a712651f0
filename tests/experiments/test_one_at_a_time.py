"""Several processes that open a data set at once, on one disk."""

import multiprocessing
import time

from experiments.data.one_at_a_time import one_at_a_time


def _open(folder, number):
  """What a process does that finds nothing prepared, or finds it."""
  with one_at_a_time('digits', str(folder)):
    prepared = folder / 'prepared'
    found = prepared.exists()
    time.sleep(0.2)  # Without waiting, all would find nothing.
    prepared.touch()
    (folder / f'process_{number}').write_text(str(found))


def test_one_prepares_and_the_others_find_it(tmp_path):
  context = multiprocessing.get_context('fork')
  processes = [
    context.Process(target=_open, args=(tmp_path, number))
    for number in range(4)
  ]
  for process in processes:
    process.start()
  for process in processes:
    process.join(timeout=300)
    assert process.exitcode == 0
  found = sorted(path.read_text() for path in tmp_path.glob('process_*'))
  assert found == ['False', 'True', 'True', 'True']


def test_other_data_sets_are_not_waited_for(tmp_path):
  folder = str(tmp_path)
  with one_at_a_time('digits', folder), one_at_a_time('watch', folder):
    pass


def test_a_disk_that_cannot_be_written_is_no_hindrance(tmp_path):
  (tmp_path / 'file').write_text('')
  entered = []
  with one_at_a_time('digits', str(tmp_path / 'file' / 'data')):
    entered.append(True)
  assert entered


def test_errors_of_the_block_pass(tmp_path):
  try:
    with one_at_a_time('digits', str(tmp_path)):
      raise FileNotFoundError('not prepared')
  except FileNotFoundError as error:
    assert str(error) == 'not prepared'
  with one_at_a_time('digits', str(tmp_path)):  # It is free again.
    pass
