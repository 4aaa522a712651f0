"""The report of a run: what it says is what the run wrote and what is so."""

import collections
import json
import re
import shutil

import ml_collections
import numpy as np
import pytest
import scipy.special
import sklearn.metrics

from experiments.answers.classes.held_out import held_out_classes
from experiments.answers.filled_text.record import FILLED_TEXT, fill_in
from experiments.answers.flow.record import FLOW, motion_panel, tell_flow
from experiments.configs import digits as digits_config
from experiments.data.dataset import Dataset, DataSpec
from experiments.datasets.embedded_builder import FILES
from experiments.host.configuration import fill_defaults, write_config
from experiments.modalities.text.typed import view_text
from experiments.modalities.text.view import Text
from experiments.reporting.comparison import comparison_page
from experiments.reporting.examples import example_cards, example_panels
from experiments.reporting.held_out import (
  extremes,
  gallery,
  look_at,
)
from experiments.reporting.history import (
  best_evaluation,
  read_history,
)
from experiments.reporting.run_page import Seen, read_run, run_page
from experiments.reporting.writing import (
  FinalReport,
  write_report,
)
from experiments.runs.evaluation import EachExample
from experiments.tasks import answer_of
from experiments.tasks.task import Task
from experiments.watching.starts import read_starts, record_start
from perceiver_jax.tokenizer import MASK
from tests.pages import Page
from tests.small_runs import random_run

# Of the held-out examples: five groups that go through the model.
NUM = 72
HOSTILE = '</td><script>alert(1)</script>&"\''


def small_config():
  config = digits_config.get_config()
  config.batch_size = 40
  config.train_steps = 12
  config.log_every = config.eval_every = config.checkpoint_every = 6
  config.inputs.image.positions.num_bands = 2
  config.encoder.num_latents = 4
  config.encoder.latent_channels = 16
  config.encoder.cross_attends = (1,)
  config.encoder.self_attends_per_block = 1
  config.schedule.warmup_steps = 2
  return config


def folder_of(path, rows, config=None):
  """Makes the folder of a run that was never trained."""
  path.mkdir(parents=True)
  write_config(fill_defaults(config or small_config()), path)
  text = ''.join(json.dumps(row) + '\n' for row in rows)
  (path / 'metrics.jsonl').write_text(text)
  return path


ROWS = [
  {'step': 6, 'train/loss': 2.34567, 'eval/accuracy': 0.4321, 'eval/loss': 1.5},
  {
    'step': 12,
    'train/loss': 2.2345,
    'train/learning_rate': 0.00321,
    'train/gradient_norm': 3.456,
    'train/examples_per_second': 987.6,
    'train/seconds_per_step': 0.25,
    'train/seconds_per_step_data_wait': 0.05,
    'train/seconds_per_step_checkpoint': 0.0,
    'train/seconds_per_step_device': 0.2,
    'train/seconds_evaluating': 4.0,
    'eval/accuracy': 0.321,
    'eval/loss': 1.25,
  },
]


def held_out_digits():
  """Held-out digits without a prepared data set; there is no training."""
  with np.load(FILES / 'digits.npz', allow_pickle=False) as arrays:
    images, labels = arrays['image'][:NUM], arrays['label'][:NUM]
  images = (images[..., None].astype(np.float32) / 255.0 - 0.13) / 0.31
  examples = [
    {'image': image, 'label': np.int32(label)}
    for image, label in zip(images, labels, strict=True)
  ]
  return Dataset(
    train=[], augment=None, evaluation=examples, prepare=lambda example: example
  )


@pytest.fixture(scope='module')
def dataset():
  return held_out_digits()


@pytest.fixture(scope='module')
def seen(run, dataset):
  evaluate, look = look_at(run, dataset)
  return Seen(run.task, look, gallery(evaluate, look, run.task, dataset))


@pytest.fixture(scope='module')
def run():
  return random_run(fill_defaults(small_config()))


@pytest.fixture(scope='module')
def workdir(tmp_path_factory, run, dataset):
  """The folder of a run with its report."""
  folder = folder_of(tmp_path_factory.mktemp('runs') / 'finished', ROWS)
  record_start(folder, 0, 100)
  write_report(
    read_run(folder),
    folder / 'report.html',
    lambda: (run, dataset),
  )
  return folder


@pytest.fixture(scope='module')
def report(workdir):
  return Page((workdir / 'report.html').read_text())


def test_the_report_has_the_numbers_of_the_run(report):
  page = report
  table = page.table_with('last, step 12')
  assert table[1:] == [
    ['accuracy, held out', '0.321', '0.4321'],
    ['loss, held out', '1.25', '1.5'],
  ]
  assert table[0][2] == 'best, step 6'
  # Curves of all that was measured, with their last values.
  for told in ('2.235', '0.00321', '3.456', '987.6'):
    assert f'{told}' in page.words
  # Of the 12 steps and the first evaluation.
  assert '7 s of training' in page.words
  assert 'waiting for data 20%' in page.words
  for word in ('Worst examples', 'Attention', 'Confusion matrix', 'jaxlib'):
    assert word in page.words
  assert 'step 12 of 12' in page.words
  images = [each for tag, each in page.tags if tag == 'img']
  assert len(images) == 24 + 2


def test_the_page_needs_no_network(workdir, report):
  page = report
  assert len(page.links) > 20
  assert {link[:5] for link in page.links} <= {
    'data:',
    *(x[:5] for x in page.links if x[0] == '#'),
  }
  assert not [tag for tag, _ in page.tags if tag in ('script', 'iframe')]
  assert 'url(' not in (workdir / 'report.html').read_text()


@pytest.fixture(scope='module')
def logits(run, dataset):
  return np.stack(run.apply_all(dataset.evaluation))


@pytest.fixture(scope='module')
def labels(dataset):
  return np.array([int(each['label']) for each in dataset.evaluation])


def test_losses_are_those_of_single_examples(seen, logits, labels):
  each = seen.look.each
  assert seen.look.total == NUM
  assert each.numbers.tolist() == list(range(NUM))
  chances = scipy.special.log_softmax(logits.astype(np.float64), axis=1)
  expected = -chances[np.arange(NUM), labels]
  np.testing.assert_allclose(each.metrics['loss'], expected, rtol=1e-4)
  np.testing.assert_array_equal(
    each.metrics['accuracy'], logits.argmax(axis=1) == labels
  )
  np.testing.assert_allclose(each.kept['scores'], np.exp(chances), rtol=1e-4)


def test_the_confusion_matrix_is_that_of_sklearn(report, logits, labels):
  expected = sklearn.metrics.confusion_matrix(
    labels, logits.argmax(axis=1), labels=range(10)
  )
  table = report.table_with('true ↓ predicted →')
  assert table[0][1:] == [row[0] for row in table[1:]] == list('0123456789')
  found = [[int(cell or 0) for cell in row[1:]] for row in table[1:]]
  np.testing.assert_array_equal(found, expected)
  titles = [
    each['title']
    for tag, each in report.tags
    if tag == 'td' and 'title' in each
  ]
  guess, total = expected[3].argmax(), expected[3].sum()
  told = f'{expected[3, guess]} of {total} ({expected[3, guess] / total:.1%})'
  assert (
    any(f'3 taken for {guess}: {told}' == title for title in titles)
    or guess == 3
  )


def of_losses(losses):
  losses = np.array(losses, np.float32)
  return EachExample(np.arange(len(losses)), {'loss': losses}, {})


def test_worst_and_best_begin_with_the_most_extreme():
  each = of_losses([8, 7, 6, 5, np.nan, 4, 3, 2, 1, 0])
  assert extremes(each, 3) == ([4, 0, 1], [6, 5, 3], [9, 8, 7])
  # None twice where there are few.
  assert extremes(of_losses([1, 3, 2]), 3) == ([1, 2], [], [0])
  assert extremes(of_losses([2, 1, 5, 4, 3]), 1) == ([2], [4], [1])
  assert extremes(of_losses([]), 3) == ([], [], [])


def test_cards_are_in_order_and_tell_what_is_true(seen, labels):
  order = np.argsort(seen.look.each.metrics['loss'], kind='stable')
  for some, chosen in (
    (seen.examples.worst, order[:-13:-1]),
    (seen.examples.best, order[:12]),
  ):
    cards = example_cards(seen.task, some)
    numbers = re.findall(r'no\. (\d+)</span>', cards)
    assert numbers == [str(number) for number in chosen]
  worst = order[-1]
  scores = seen.look.each.kept['scores'][worst]
  told = f'is {labels[worst]}, given {scores[labels[worst]]:.1%}'
  assert told in Page(example_cards(seen.task, seen.examples.worst)).words
  assert np.argmax(scores) != labels[worst]
  assert not seen.examples.typical and not seen.examples.besides


def test_a_part_of_the_examples_is_said_to_be_one(run, dataset, seen, workdir):
  _, look = look_at(run, dataset, 16)
  numbers = look.each.numbers
  assert len(numbers) == 16 and look.total == NUM
  # Not those that stand first, which are often of one class.
  assert numbers.max() > NUM / 2
  np.testing.assert_allclose(
    look.each.metrics['loss'],
    seen.look.each.metrics['loss'][numbers],
    rtol=1e-5,
  )
  page = run_page(read_run(workdir), seen._replace(look=look))
  assert 'Of 16 of the 72 held-out examples, at step 7' in page


def test_a_validation_split_leaves_the_look_at_the_held_out_examples(
  run, dataset, seen
):
  chosen_by = dataset._replace(validation=dataset.evaluation[:8])
  _, look = look_at(run, chosen_by)
  assert look.total == NUM
  np.testing.assert_allclose(
    look.each.metrics['loss'], seen.look.each.metrics['loss'], rtol=1e-5
  )


class Counting:
  """Counts how often each example is read."""

  def __init__(self, source):
    self.source, self.reads = source, collections.Counter()

  def __len__(self):
    return len(self.source)

  def __getitem__(self, index):
    self.reads[int(index)] += 1
    return self.source[index]


def test_only_examples_that_are_shown_are_read_twice(run, dataset):
  source = Counting(dataset.evaluation)
  dataset = dataset._replace(evaluation=source)
  evaluate, look = look_at(run, dataset)
  # The last fills up its batch: it is read for each place there.
  assert [source.reads[i] for i in range(NUM - 1)] == [1] * (NUM - 1)
  before = source.reads.copy()
  gallery(evaluate, look, run.task, dataset)
  losses = np.argsort(look.each.metrics['loss'])
  shown = {*losses[:12].tolist(), *losses[-12:].tolist()}
  assert source.reads - before == dict.fromkeys(shown, 1)


def test_names_and_data_are_escaped(tmp_path, seen, workdir):
  names = tuple(f'{i}{HOSTILE}' for i in range(10))
  spec = seen.task.data._replace(
    view=lambda _: {HOSTILE: Text(HOSTILE.encode())}
  )
  answer = seen.task.answer._replace(held_out=held_out_classes(names, None))
  task = seen.task._replace(data=spec, answer=answer)
  config = small_config()
  config.data.name = HOSTILE
  row = {'step': 6, f'eval/{HOSTILE}': 1.0, 'eval/accuracy': 0.5}
  folder = folder_of(tmp_path / '<script>', [row], config)
  (folder / 'starts.jsonl').write_text(
    json.dumps({'command': ['python', HOSTILE], 'host': HOSTILE}) + '\n'
  )
  files = read_run(folder)
  page = Page(run_page(files, seen._replace(task=task), why_not=HOSTILE))
  assert not [tag for tag, _ in page.tags if tag == 'script']
  assert page.words.count(HOSTILE) > 40
  compared = Page(comparison_page([files, read_run(workdir)]))
  assert not [tag for tag, _ in compared.tags if tag == 'script']
  assert HOSTILE in compared.words


def test_lines_that_are_broken_are_left_out_and_counted(tmp_path):
  folder = folder_of(tmp_path / 'run', [])
  lines = [
    '{"step": 6, "train/loss": 2.5, "eval/accuracy": 0.25}',
    '{"step": 12, "train/lo',
    'no json',
    '[1, 2]',
    '{"train/loss": 1.0}',
    '{"step": 18, "train/loss": null, "eval/accuracy": 0.75, "note": "x"}',
    '',
  ]
  (folder / 'metrics.jsonl').write_text('\n'.join(lines))
  files = read_run(folder)
  assert files.history.broken == 4
  assert files.history.points('train/loss') == [(6, 2.5), (18, None)]
  page = Page(run_page(files))
  assert '4 line(s) of metrics.jsonl could not be read.' in page.words
  assert 'step 18 of 12' in page.words and '0.75' in page.words


def test_a_run_without_anything_but_its_config_has_a_page(tmp_path):
  folder = folder_of(tmp_path / 'run', [])
  (folder / 'metrics.jsonl').unlink()
  page = Page(run_page(read_run(folder)))
  assert 'There are no metrics.' in page.words
  assert 'num_latents' in page.words
  with pytest.raises(FileNotFoundError, match='no run in'):
    read_run(tmp_path)


def test_without_data_or_checkpoints_the_page_says_so(tmp_path, workdir):
  path = tmp_path / 'new' / 'report.html'

  def load():
    raise FileNotFoundError('The data set <x> is not prepared.')

  write_report(read_run(workdir), path, load)
  page = Page(path.read_text())
  assert 'Not looked at: The data set <x> is not prepared.' in page.words
  assert 'Worst examples' not in page.words and 'Config' in page.words


def test_examples_that_cannot_be_read_are_left_out(run, dataset, workdir):
  class Holes:
    def __len__(self):
      return 24

    def __getitem__(self, index):
      if index % 3 == 0:
        raise OSError(f'file {index} is gone')
      return dataset.evaluation[index]

  _, look = look_at(run, dataset._replace(evaluation=Holes()))
  assert look.each.numbers.tolist() == [x for x in range(24) if x % 3]
  page = run_page(read_run(workdir), Seen(run.task, look))
  told = '16 of the 24 held-out examples (some cannot be read: file 0 is'
  assert told in page


def test_the_report_does_not_fail_a_run(tmp_path, capsys):
  folder = folder_of(tmp_path / 'run', [])
  (folder / 'report.html').mkdir()
  report = FinalReport(folder, seconds=0.0)
  report.write(small_config(), None, None, None)
  (line,) = capsys.readouterr().out.splitlines()
  assert line.startswith('The report could not be written: ')
  assert 'report.html cannot be written: Is a directory' in line
  with pytest.raises(ValueError, match=r'report\.seconds must not be negative'):
    FinalReport(folder, seconds=-1.0)


def test_a_start_keeps_what_it_takes_to_repeat_it(tmp_path, monkeypatch):
  command = ['/bin/python3', '-m', 'experiments.train', '--config.seed=3']
  monkeypatch.setattr('sys.orig_argv', command)
  folder = folder_of(tmp_path / 'run', [])
  assert read_starts(folder) == []
  record_start(folder, 0, 100)
  with (folder / 'starts.jsonl').open('a') as file:
    file.write('{"cut sho')
  record_start(folder, 6, 100)
  first, second = read_starts(folder)
  assert first['command'] == ['python', *command[1:]]
  assert (first['step'], second['step']) == (0, 6)
  assert first['parameters'] == 100
  assert first['versions']['jax'] and first['devices'].startswith('1 x ')
  page = Page(run_page(read_run(folder)))
  assert 'python -m experiments.train --config.seed=3' in page.words
  assert sum(tag == 'mark' for tag, _ in page.tags) == 1  # The seed.


def test_a_comparison_shows_differences_and_the_best(tmp_path):
  other = small_config()
  other.encoder.num_latents = 8
  runs = [
    folder_of(
      tmp_path / 'one',
      [
        {'step': 6, 'eval/accuracy': 0.5, 'eval/loss': 1.5},
        {'step': 12, 'eval/accuracy': 0.4, 'eval/loss': 1.25},
      ],
    ),
    folder_of(
      tmp_path / 'two',
      [{'step': 12, 'eval/accuracy': 0.625, 'eval/loss': 1.75}],
      other,
    ),
  ]
  text = comparison_page([read_run(each) for each in runs])
  page = Page(text)
  metrics_table, config_table = page.tables
  assert metrics_table == [
    ['metric', 'one', 'two'],
    ['step', '6', '12'],
    ['accuracy, held out', '0.5', '0.625'],
    ['loss, held out', '1.5', '1.75'],
  ]
  # The higher accuracy and the lower loss.
  assert '<b>0.625</b>' in text and '<b>1.5</b>' in text
  assert '<b>0.5</b>' not in text.partition('id="curves"')[0]
  assert config_table == [
    ['', 'one', 'two'],
    ['encoder.num_latents', '4', '8'],
  ]
  with pytest.raises(ValueError, match='named twice'):
    comparison_page([read_run(runs[0])] * 2)
  again = shutil.copytree(runs[0], tmp_path / 'more' / 'one')
  words = Page(comparison_page([read_run(runs[0]), read_run(again)])).words
  assert 'more/one' in words and 'There are none.' in words


def test_the_best_evaluation_is_that_of_the_checkpoints(tmp_path):
  rows = [
    {'step': step, 'eval/accuracy': accuracy}
    for step, accuracy in ((6, 0.5), (12, 0.75), (18, 0.75), (24, None))
  ]
  history = read_history(folder_of(tmp_path / 'run', rows))
  config = small_config()
  assert best_evaluation(history, config)['step'] == 18
  config.checkpoints.best_mode = 'min'
  assert best_evaluation(history, config)['step'] == 6
  config.checkpoints.best_metric = 'eval/other'
  assert best_evaluation(history, config) is None


@pytest.mark.parametrize(
  ('task', 'name', 'lower'),
  [
    ('classification', 'eval/loss', True),
    ('classification', 'eval_ema/top_5_accuracy', False),
    ('classification', 'eval/end_point_error', None),
    ('optical_flow', 'eval/end_point_error', True),
    ('autoencoding', 'eval/image_psnr_gain', False),
    ('masked_language_modelling', 'eval/bits_per_byte', True),
    ('glue', 'eval/cola_matthews', False),
    ('glue', 'train/learning_rate', None),
  ],
)
def test_what_is_better(task, name, lower):
  answer = answer_of(ml_collections.ConfigDict({'task': task}))
  assert answer.is_lower_better(name) is lower


def test_of_an_unknown_task_nothing_is_known():
  for config in ({}, {'task': 'other'}, {'task': ['glue']}):
    assert answer_of(ml_collections.ConfigDict(config)) is None


def test_flow_is_shown_beside_the_true_motion():
  rng = np.random.default_rng(0)
  true, made = rng.normal(size=(2, 8, 12, 2)).astype(np.float32)
  valid = np.ones((8, 12), np.float32)
  valid[0] = 0.0
  true[0] = 100.0  # Not known, and not to count.
  example = {
    'frames': rng.uniform(-1, 1, (2, 8, 12, 3)),
    'flow': true,
    'valid': valid,
  }
  spec = DataSpec(example={}, num_classes=None, load=None)
  task = Task(None, None, spec, FLOW, tell_flow)
  panels = example_panels(task, made, example)
  fastest = np.linalg.norm(true[1:], axis=-1).max()
  assert panels[2:] == [
    motion_panel('True motion', true, max_motion=fastest, valid=valid > 0),
    motion_panel('Estimated motion', made, max_motion=fastest),
  ]
  assert [panel.name for panel in panels[:2]] == ['First frame', 'Second frame']


def test_masked_text_is_shown_masked_true_and_filled_in():
  tokens = np.frombuffer(b'a<c d', np.uint8) + 6
  targets = tokens.astype(np.int32)
  masked = np.where(np.arange(5) == 1, MASK, targets)
  logits = np.zeros((5, 262))
  logits[1, ord('b') + 6] = 9.0
  example = {'tokens': masked, 'targets': targets, 'mask': np.ones(5, bool)}
  spec = DataSpec(example={}, num_classes=None, load=None, view=view_text)
  task = Task(None, None, spec, FILLED_TEXT, fill_in)
  panels = example_panels(task, logits, example)
  assert [(panel.name, Page(panel.body).words) for panel in panels[1:]] == [
    ('True', 'a<c d'),
    ('Filled in', 'abc d'),
  ]
  assert Page(panels[0].body).words != 'a<c d'
  # Nor is a text without the truth told as if there were one.
  del example['targets']
  panels = example_panels(task, logits, example)
  assert [panel.name for panel in panels] == ['Text', 'Filled in']
