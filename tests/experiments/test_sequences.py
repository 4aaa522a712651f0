"""Sequences in a column: cells, alignment, metrics, words; two are learned."""

import csv
import json

import jax
import numpy as np
import pytest
import scipy.special
import sklearn.metrics

from experiments.answers.head import Column
from experiments.answers.sequences.cells import to_spans, to_steps
from experiments.answers.sequences.column import SEQUENCE
from experiments.answers.sequences.record import (
  STEP_CLASSES,
  STEP_NUMBERS,
  TEXT_SPANS,
)
from experiments.modalities.series.folder import series_files
from experiments.modalities.text.folder import text_files
from experiments.table.cells import to_list
from perceiver_jax.position_encoding import FourierPositions
from perceiver_jax.series_windows import SeriesWindows
from perceiver_jax.token_embedding import TokenEmbedding
from tests.learned_heads import learned
from tests.pages import Page

SIZE, PATCH = 24, 3
SERIES = {
  'kind': 'series',
  'num_steps': SIZE,
  'patch': PATCH,
  'num_channels': 2,
  'channels': (),
  'mean': (1.0, 2.0),
  'stddev': (2.0, 0.5),
  'max_speed_change': 0.3,
  'max_scale': 0.1,
  'noise': 0.1,
}
TEXT = {'kind': 'text', 'length': 32, 'min_share': 0.5}
CLASSES = {'classes': ['rest', 'run', 'walk'], 'shares': [0.2, 0.3, 0.5]}
SPANS = {'classes': ['O', 'place', 'who'], 'shares': [0.8, 0.1, 0.1]}
NUMBERS = {'centre': 10.0, 'spread': 4.0}


def rng(seed=0):
  return np.random.default_rng(seed)


def sense_of_series():
  options = {x: SERIES[x] for x in SERIES if x not in ('kind', 'patch')}
  return series_files(None, max_steps=99, **options)


def sense_of_texts():
  return text_files(None, length=32, max_length=99, min_share=0.5)


# Cells.


@pytest.mark.parametrize(
  'cell',
  [
    ['a', None, 'b', ''],
    '["a", null, "b", ""]',
    "['a', None, 'b', '']",
    'a|NA|b|?',
  ],
)
def test_lists_have_a_step_each(cell):
  assert to_steps(cell) == ['a', None, 'b', None]


@pytest.mark.parametrize(
  'name, content',
  [
    ('a.txt', 'a\n\nb\n'),
    ('a.csv', 'time,label\n0,a\n1,\n2,b\n'),
    ('a.tsv', 'label\na\n\nb\n'),
    ('a.json', '["a", null, "b"]'),
  ],
)
def test_files_have_a_step_a_line(tmp_path, name, content):
  (tmp_path / name).write_text(content)
  assert to_steps(tmp_path / name) == ['a', None, 'b']


def test_files_of_numbers(tmp_path):
  np.save(tmp_path / 'a.npy', np.array([[1.5, np.nan, 3.0]]))
  assert to_steps(tmp_path / 'a.npy') == [1.5, None, 3.0]
  (tmp_path / 'a.txt').write_text('force\n1.5\n2\n')
  assert to_steps(tmp_path / 'a.txt') == ['1.5', '2']
  (tmp_path / 'b.npy').write_bytes(b'\x93NUMPY')
  with pytest.raises(ValueError, match=r'b\.npy cannot be read as an answer'):
    to_steps(tmp_path / 'b.npy')


def test_parts_of_texts():
  spans = [(0, 4, 'who'), (7, 9, '3')]
  assert to_spans('[[7, 9, 3], [0, 4, "who"]]') == spans
  assert to_spans([[0, 4, 'who'], [7.0, 9.0, '3']]) == spans
  assert to_spans('[]') == []
  with pytest.raises(ValueError, match='overlap at character 3'):
    to_spans('[[0, 4, "a"], [3, 5, "b"]]')
  for wrong in ('who', '[[4, 4, "a"]]', '[[0, 4]]', '[[0, 1.5, "a"]]', 3):
    with pytest.raises(ValueError, match='is no list of parts'):
      to_spans(wrong)


# What suits a column.


def of_series(folder, cells):
  paths = []
  for i, cell in enumerate(cells):
    paths.append(folder / f'{i}.npy')
    np.save(paths[-1], np.zeros((len(cell), 2)))
  return Column('stage', cells, SERIES, paths)


@pytest.mark.parametrize(
  'cells, arguments, options',
  [
    (
      [['b', 'a', None, 'a'], ['a', '']],
      {},
      {'classes': ['a', 'b'], 'shares': [0.75, 0.25]},
    ),
    ([['2', 10, 2.0, 2]], {}, {'classes': ['2', '10'], 'shares': [0.75, 0.25]}),
    (
      [[2, 10, 3]],
      {'as': 'numbers'},
      {'centre': 5.0, 'spread': 38**0.5 / 3**0.5},
    ),
    ([[2.5, 3.5]], {}, {'centre': 3.0, 'spread': 0.5}),
    ([list(range(100))], {}, {'centre': 49.5, 'spread': (9999 / 12) ** 0.5}),
  ],
)
def test_classes_and_numbers_are_told_apart(
  tmp_path, cells, arguments, options
):
  found = SEQUENCE.suited(of_series(tmp_path, cells), arguments)
  assert json.loads(json.dumps(found)) == found
  assert found.keys() == options.keys()
  for name, value in options.items():
    is_named = name == 'classes'
    assert found[name] == (value if is_named else pytest.approx(value))


def test_parts_have_a_class_beside_them():
  column = Column(
    'names',
    ['[[0, 3, "who"]]', '[]', [[1, 2, 'place']]],
    TEXT,
    ['Zoë is', 'here', None],
  )
  found = SEQUENCE.suited(column, {})
  assert found['classes'] == ['O', 'place', 'who']
  # Four bytes of eleven: ë has two.
  np.testing.assert_allclose(found['shares'], [7 / 11, 0, 4 / 11], atol=1e-6)


def test_what_does_not_suit_is_refused(tmp_path):
  column = of_series(tmp_path, [['a', 'b']])
  with pytest.raises(
    ValueError, match="as must be classes or numbers, got 'x'"
  ):
    SEQUENCE.suited(column, {'as': 'x'})
  longer = column._replace(cells=[['a', 'b', 'a']])
  with pytest.raises(
    ValueError, match=r'3 answers for the 2 steps of .*0\.npy'
  ):
    SEQUENCE.suited(longer, {})
  same = of_series(tmp_path, [[2.5, 2.5]])
  with pytest.raises(ValueError, match='same number in all steps'):
    SEQUENCE.suited(same, {})
  with pytest.raises(ValueError, match='1 names'):
    SEQUENCE.suited(of_series(tmp_path, [['a', 'a']]), {})
  text = Column('names', ['[[0, 9, "who"]]'], TEXT, ['Zoë'])
  with pytest.raises(
    ValueError, match='ends at character 9, and the text has 3'
  ):
    SEQUENCE.suited(text, {})
  with pytest.raises(ValueError, match='begins with white space'):
    SEQUENCE.suited(text._replace(inputs=['  Zoë is here']), {})


# Alignment.


def test_a_long_series_is_cut_with_its_steps():
  head, sense = SEQUENCE.make(CLASSES, SERIES), sense_of_series()
  series = rng().normal(size=(60, 2)).astype(np.float32)
  classes = rng(1).integers(0, 3, 60).astype(np.int32)
  kept, found = head.align({'series': series}, {'classes': classes}, None)
  shown = sense.prepare(kept)['series']
  (start,) = [t for t in range(37) if np.array_equal(series[t : t + 24], shown)]
  np.testing.assert_array_equal(found['classes'], classes[start : start + 24])


@pytest.mark.parametrize('length', [10, 24, 60])
def test_a_series_changes_as_it_would_without_an_answer(length):
  head, sense = SEQUENCE.make(CLASSES, SERIES), sense_of_series()
  # The step of each is its first channel, in which there is no noise.
  steps = np.arange(length, dtype=np.float32)
  series = np.stack([steps, np.ones(length)], axis=1).astype(np.float32)
  classes = np.arange(length, dtype=np.int32) % 3
  lengths = set()
  for seed in range(6):
    kept, found = head.align(
      {'series': series}, {'classes': classes}, rng(seed)
    )
    alone = sense.augment({'series': series}, rng(seed))
    shown = sense.prepare(kept)
    np.testing.assert_array_equal(shown['series'], alone['series'])
    np.testing.assert_array_equal(shown['input_mask'], alone['input_mask'])
    inside = found['classes'] >= 0
    lengths.add(int(inside.sum()))
    assert not shown['series'][~inside].any()
  assert lengths != {24} or length == 60


def test_steps_follow_the_speed_of_their_series():
  asks = {**SERIES, 'max_scale': 0.0, 'noise': 0.0}
  head = SEQUENCE.make(NUMBERS, asks)
  steps = np.arange(60, dtype=np.float32)
  series = np.stack([steps, steps], axis=1)
  for seed in range(5):
    kept, found = head.align({'series': series}, {'numbers': steps}, rng(seed))
    assert found['known'].all()
    apart = np.abs(found['numbers'] - kept['series'][:, 0])
    assert 0.1 < apart.max() <= 0.5 + 1e-4


def test_steps_and_series_must_be_as_long():
  head = SEQUENCE.make(CLASSES, SERIES)
  with pytest.raises(ValueError, match='3 answers for 4 steps'):
    head.align(
      {'series': np.zeros((4, 2), np.float32)},
      {'classes': np.zeros(3, np.int32)},
      None,
    )


def test_parts_are_of_bytes_and_move_with_their_text():
  head, sense = SEQUENCE.make(SPANS, TEXT), sense_of_texts()
  text = 'Zoë lebt in Köln, und Ana in Rom; wer noch?'
  places = {'Zoë': 'who', 'Köln': 'place', 'Ana': 'who', 'Rom': 'place'}
  spans = [
    [text.index(part), text.index(part) + len(part), name]
    for part, name in places.items()
  ]
  found = head.read(json.dumps(spans))
  kept = {'text': text.encode()}
  cut_off = 0
  for seed in (None, *range(8)):
    drawn = None if seed is None else rng(seed)
    moved, target = head.align(kept, found, drawn)
    example = sense.prepare(moved)
    if seed is not None:
      alone = sense.augment(kept, rng(seed))
      np.testing.assert_array_equal(example['tokens'], alone['tokens'])
    classes, inside = target['classes'], example['mask']
    np.testing.assert_array_equal(classes >= 0, inside)
    shown = bytes((example['tokens'][inside] - 6).astype(np.uint8).tolist())
    for which, name in ((1, 'place'), (2, 'who')):
      own = shown[: inside.sum()]
      marked = bytes(
        b for b, c in zip(own, classes, strict=False) if c == which
      )
      whole = ''.join(part for part, x in places.items() if x == name)
      # Parts that a crop cut are there as far as they go.
      assert marked.decode() in whole
      cut_off += marked.decode() != whole
  assert cut_off


def test_parts_are_those_of_the_sense_where_the_elements_do_not_say():
  asks = {name: x for name, x in SERIES.items() if name != 'patch'}
  asks |= {'max_patches': SIZE // PATCH}
  assert SEQUENCE.make(CLASSES, asks).channels == PATCH * 3
  assert SEQUENCE.make(NUMBERS, asks).channels == PATCH


# Losses and metrics.


def as_outputs(values, patch):
  """`[B, W, ...]` as the elements give it, `[B, M, F]`."""
  return values.reshape(len(values), -1, patch * values[0, 0].size)


def classes_at_random(seed=0, n=6):
  truth = rng(seed).choice(3, (n, SIZE), p=[0.6, 0.3, 0.1]).astype(np.int32)
  truth[:, -5:] = -1
  truth[0] = -1
  return truth


def test_the_loss_is_the_mean_cross_entropy_of_known_steps():
  head = SEQUENCE.make(CLASSES, SERIES)
  truth = classes_at_random()
  logits = rng(1).normal(size=(6, SIZE, 3)).astype(np.float32)
  losses = head.loss(as_outputs(logits, PATCH), {'classes': truth})
  assert losses[0] == 0.0
  for i in range(1, 6):
    known = truth[i] >= 0
    chances = scipy.special.softmax(logits[i][known], axis=-1)
    expected = sklearn.metrics.log_loss(
      truth[i][known], chances, labels=[0, 1, 2]
    )
    assert losses[i] == pytest.approx(expected, rel=1e-5)
  slope = jax.jit(jax.grad(lambda x: head.loss(x, {'classes': truth}).sum()))
  slopes = slope(as_outputs(logits, PATCH))
  slopes = np.asarray(slopes).reshape(logits.shape)
  assert not slopes[truth < 0].any() and (slopes[truth >= 0] != 0).all()


def test_scores_of_steps_are_those_of_scikit_learn():
  head = SEQUENCE.make(CLASSES, SERIES)
  truth = classes_at_random()
  logits = rng(1).normal(size=(6, SIZE, 3)) + np.eye(3)[truth]
  kept = head.collect(as_outputs(logits, PATCH), {'classes': truth})
  kept = {name: np.asarray(x) for name, x in kept.items()}
  known, said = truth >= 0, logits.argmax(axis=-1)
  score = sklearn.metrics.f1_score(truth[known], said[known], average='macro')
  assert head.metrics(kept) == pytest.approx(
    {'macro_f1': score, 'accuracy': np.mean(truth[known] == said[known])},
    abs=1e-12,
  )
  constant = {name: x for _, name, x in head.baselines(kept)}
  assert constant['accuracy'] == pytest.approx(np.mean(truth[known] == 2))
  assert not head.answer.is_lower_better(head.score)
  one = {name: x[1] for name, x in kept.items()}
  caption = Page(head.caption(one))
  share = np.mean((truth == said)[1][known[1]])
  assert caption.words.startswith(f'{share:.1%} rightModel:19: ')
  (section,) = head.sections(kept, 'Of 6 series')
  assert [row[0] for row in Page(section.body).tables[0][1:]] == CLASSES[
    'classes'
  ]


def test_the_truth_scores_one_and_what_is_unknown_may_be_anything():
  head = SEQUENCE.make(CLASSES, SERIES)
  truth = classes_at_random()
  said = np.where(truth < 0, rng(3).integers(0, 3, truth.shape), truth)
  kept = head.collect(as_outputs(np.eye(3)[said], PATCH), {'classes': truth})
  assert head.metrics(kept) == {'macro_f1': 1.0, 'accuracy': 1.0}


def runs(classes):
  """Parts of one class other than 0, by a loop."""
  found, start = set(), 0
  for i in range(1, len(classes) + 1):
    if i == len(classes) or classes[i] != classes[start]:
      if classes[start] > 0:
        found.add((start, i, int(classes[start])))
      start = i
  return found


def test_parts_count_from_end_to_end():
  head = SEQUENCE.make(SPANS, TEXT)
  truth = np.repeat(rng().integers(0, 3, (20, 16)), 2, axis=1)
  said = np.where(rng(1).random(truth.shape) < 0.1, 0, truth)
  truth[:, 28:] = -1
  kept = head.collect(np.eye(3)[said], {'classes': truth.astype(np.int32)})
  true_parts = [runs(x[:28]) for x in truth]
  said_parts = [runs(x[:28]) for x in said]
  hits, all_said, all_true = (
    sum(map(len, x))
    for x in (
      [a & b for a, b in zip(said_parts, true_parts, strict=True)],
      said_parts,
      true_parts,
    )
  )
  assert 0 < hits < all_true
  f1 = 2 * hits / (all_said + all_true)
  assert head.metrics(kept)['span_f1'] == pytest.approx(f1)
  (section,) = head.sections(kept, 'Of 20 texts')
  assert f'{hits} are the same from end to end' in section.note


def test_errors_of_numbers_are_those_of_scikit_learn():
  head = SEQUENCE.make(NUMBERS, SERIES)
  true = rng().normal(11, 5, (6, SIZE))
  known = rng(1).random(true.shape) < 0.8
  said = true + rng(2).normal(0.5, 1, true.shape)
  target = {
    'numbers': np.where(known, (true - 10) / 4, 0).astype(np.float32),
    'known': known,
  }
  outputs = as_outputs(((said - 10) / 4).astype(np.float32)[..., None], PATCH)
  kept = {k: np.asarray(x) for k, x in head.collect(outputs, target).items()}
  assert head.metrics(kept) == pytest.approx(
    {
      'mae': sklearn.metrics.mean_absolute_error(true[known], said[known]),
      'rmse': sklearn.metrics.root_mean_squared_error(true[known], said[known]),
      'r2': sklearn.metrics.r2_score(true[known], said[known]),
    },
    rel=1e-4,
  )
  mean = np.full_like(true, 10.0)
  found = {name: x for _, name, x in head.baselines(kept)}
  assert found == pytest.approx(
    {
      'mae': sklearn.metrics.mean_absolute_error(true[known], mean[known]),
      'rmse': sklearn.metrics.root_mean_squared_error(true[known], mean[known]),
      'r2': sklearn.metrics.r2_score(true[known], mean[known]),
    },
    rel=1e-4,
  )
  np.testing.assert_allclose(
    head.columns(kept)['mae'],
    [
      np.abs(s - t)[k].mean() for s, t, k in zip(said, true, known, strict=True)
    ],
    rtol=1e-4,
  )
  losses = head.loss(outputs, target)
  errors = np.abs(said - true) / 4
  huber = np.where(errors < 3, errors**2 / 2, 3 * errors - 4.5)
  expected = [x[k].mean() for x, k in zip(huber, known, strict=True)]
  np.testing.assert_allclose(losses, expected, rtol=1e-4)
  one = {name: x[0] for name, x in kept.items()}
  assert 'off on average' in head.caption(one)


# What is told.


def series_example(length):
  series = np.zeros((SIZE, 2), np.float32)
  series[:length] = rng().normal(size=(length, 2))
  mask = np.arange(SIZE).reshape(-1, PATCH)[:, 0] < length
  return {'series': series, 'input_mask': mask}


@pytest.mark.parametrize('length', [1, 16, 24])
def test_steps_are_told_as_far_as_the_series_goes(length, tmp_path):
  head = SEQUENCE.make(CLASSES, SERIES)
  classes = np.repeat([1, 2, 0], 8)
  example = series_example(length)
  value = head.tell(as_outputs(np.eye(3)[classes][None], PATCH)[0], example)
  np.testing.assert_array_equal(value.classes, classes[:length])
  np.testing.assert_allclose(
    value.series,
    example['series'][:length] * np.array([2, 0.5]) + np.array([1, 2]),
    rtol=1e-6,
  )
  # As a table has them, they are read again.
  read = head.read(head.cells(value)[''])
  np.testing.assert_array_equal(read['classes'], classes[:length])
  (path,) = STEP_CLASSES.write(value, tmp_path / 'new', 'a')
  np.testing.assert_array_equal(head.read(path)['classes'], classes[:length])


def test_lines_json_and_panels_of_steps():
  head = SEQUENCE.make(CLASSES, SERIES)
  classes = np.repeat([1, 2, 0], 8)
  value = head.tell(
    as_outputs(np.eye(3)[classes][None], PATCH)[0], series_example(20)
  )
  assert STEP_CLASSES.lines(value, 3) == ['20 steps: run 8, walk 8, rest 4']
  said = STEP_CLASSES.json(value, 3)
  assert json.loads(json.dumps(said)) == {
    'spans': [[0, 8, 'run'], [8, 16, 'walk'], [16, 20, 'rest']]
  }
  (panel,) = STEP_CLASSES.panels(value)
  page = Page(panel.body)
  assert page.words.endswith('restrunwalk')
  assert [name for name, _ in page.tags].count('rect') == 3


def test_numbers_are_told_in_their_units(tmp_path):
  head = SEQUENCE.make(NUMBERS, SERIES)
  outputs = np.arange(SIZE, dtype=np.float32).reshape(-1, PATCH)
  value = head.tell(outputs, series_example(16))
  np.testing.assert_allclose(value.numbers, 10 + 4 * np.arange(16))
  assert STEP_NUMBERS.lines(value, 3) == ['16 steps: 40 on average, 10 to 70']
  cell = head.cells(value)['']
  np.testing.assert_allclose(
    np.array(to_list(cell), float), value.numbers, atol=1e-3
  )
  read = head.read(cell)['numbers']
  np.testing.assert_allclose(read, np.arange(16), atol=1e-3)
  (path,) = STEP_NUMBERS.write(value, tmp_path, 'a')
  np.testing.assert_allclose(head.read(path)['numbers'], read, atol=1e-3)
  (panel,) = STEP_NUMBERS.panels(value)
  assert Page(panel.body).words.endswith('model')


def test_parts_are_told_in_characters(tmp_path):
  head, sense = SEQUENCE.make(SPANS, TEXT), sense_of_texts()
  text = 'Zoë <b> Köln'
  cell = '[[0, 3, "who"], [8, 12, "place"]]'
  kept = {'text': text.encode()}
  _, target = head.align(kept, head.read(cell), None)
  logits = 9.0 * np.eye(3)[np.maximum(target['classes'], 0)]
  # A byte that disagrees with the rest of its character.
  logits[text.encode().index('ö'.encode()) + 1] = [1.0, 0.0, 0.0]
  value = head.tell(logits, sense.prepare(kept))
  assert value.text == text
  assert json.loads(head.cells(value)['']) == json.loads(cell)
  assert TEXT_SPANS.lines(value, 1) == [
    "who: 'Zoë' (0 to 3)",
    "place: 'Köln' (8 to 12)",
  ]
  assert TEXT_SPANS.json(value, 1)['spans'][1] == {
    'start': 8,
    'end': 12,
    'class': 'place',
    'text': 'Köln',
  }
  (panel,) = TEXT_SPANS.panels(value)
  assert Page(panel.body).words == f'{text}placewho'
  assert not [x for x, _ in Page(panel.body).tags if x == 'b']
  (path,) = TEXT_SPANS.write(value, tmp_path, 'a')
  with path.open(newline='', encoding='utf-8') as file:
    rows = list(csv.DictReader(file))
  assert [row['text'] for row in rows] == ['Zoë', 'Köln']
  nothing = value._replace(spans=())
  assert TEXT_SPANS.lines(nothing, 1) == ['no part of the text is other than O']


# Models.


def waves(rng, n=16, steps=48):
  """Sines that turn fast or slowly, and which they do."""
  fast = np.repeat(rng.integers(0, 2, (n, 3)), steps // 3, axis=1)
  phase = np.cumsum(np.where(fast, 2.0, 0.5), axis=1)
  values = np.sin(phase + rng.uniform(0, 6, (n, 1)))
  values += rng.normal(0, 0.2, values.shape)
  return values.astype(np.float32)[..., None], fast.astype(np.int32)


def windows():
  return SeriesWindows(
    patch=4,
    window=16,
    positions=FourierPositions(num_bands=6, max_resolution=(12,)),
  )


@pytest.mark.slow
def test_a_model_learns_which_steps_turn_fast():
  asks = {**SERIES, 'num_steps': 48, 'patch': 4}
  options = {'classes': ['slow', 'fast'], 'shares': [0.5, 0.5]}
  head = SEQUENCE.make(options, asks)

  def batch_of(rng):
    series, fast = waves(rng)
    return series, np.ones((16, 12), bool), {'classes': fast}

  model = learned(head, windows, batch_of, steps=100)
  series, there, target = batch_of(rng(9))
  kept = head.collect(model(series, there), target)
  assert head.metrics(kept)['macro_f1'] > 0.95


@pytest.mark.slow
def test_a_model_learns_the_words_of_a_kind():
  head = SEQUENCE.make({'classes': ['O', 'who'], 'shares': [0.8, 0.2]}, TEXT)
  names, others = ['ana', 'bob', 'zoe'], ['the', 'sun', 'sea', 'and', 'red']
  sense = sense_of_texts()

  def batch_of(rng):
    examples, targets = [], []
    for _ in range(16):
      words = [
        str(rng.choice(names if rng.random() < 0.3 else others))
        for _ in range(6)
      ]
      spans = [
        [4 * i, 4 * i + 3, 'who']
        for i, word in enumerate(words)
        if word in names
      ]
      kept, target = head.align(
        {'text': ' '.join(words).encode()}, head.read(spans), None
      )
      examples.append(sense.prepare(kept))
      targets.append(target['classes'])
    return (
      np.stack([x['tokens'] for x in examples]),
      np.stack([x['mask'] for x in examples]),
      {'classes': np.stack(targets)},
    )

  model = learned(
    head,
    lambda: TokenEmbedding(
      vocab_size=262, num_channels=32, max_length=32, init_stddev=0.5
    ),
    batch_of,
    steps=250,
    latents=12,
  )
  tokens, there, target = batch_of(rng(9))
  kept = head.collect(model(tokens, there), target)
  assert head.metrics(kept)['macro_f1'] > 0.8
