"""Texts that a person types: blanks filled in by bytes, and pairs judged."""

import numpy as np
import pytest

from experiments import predict
from experiments.answers.classes.value import Classes
from experiments.answers.filled_text.record import (
  FILLED_TEXT,
  Blank,
  FilledText,
  byte_name,
  fill_in,
)
from experiments.answers.judgements.record import (
  JUDGEMENTS,
  Judgements,
  judge,
)
from experiments.configs import declaration as config_module
from experiments.datasets.glue import CLASS_NAMES, TASKS, glue
from experiments.datasets.masked_text import masked_text
from experiments.datasets.without_pipeline import masked_pieces
from experiments.modalities.text.typed import (
  masked_by_hand,
  parted_by_hand,
  view_text,
)
from perceiver_jax.published import GLUE_TASKS
from perceiver_jax.tokenizer import MASK, PAD, SEP
from tests.small_runs import random_run

LENGTH = 24


def tokens_of(text):
  return [byte + 6 for byte in text.encode()]


# From text to examples.


def test_each_blank_is_one_masked_byte():
  example = masked_by_hand('[MASK]ä[MASK][MASK]!'.encode(), 8)
  assert example['tokens'].dtype == np.int32
  a, b = 'ä'.encode()
  expected = [MASK, a + 6, b + 6, MASK, MASK, ord('!') + 6, PAD, PAD]
  assert example['tokens'].tolist() == expected
  assert example['mask'].tolist() == [True] * 6 + [False] * 2
  assert view_text(example)['text'].data.decode() == '▢ä▢▢!'


def test_a_text_may_fill_the_model_and_no_more():
  example = masked_by_hand(b'abc[MASK]', 4)
  assert example['mask'].all()
  with pytest.raises(ValueError, match=r'5 bytes, each \[MASK\].* takes 4\.'):
    masked_by_hand(b'abcd[MASK]', 4)
  with pytest.raises(ValueError, match=r'Nothing .* write \[MASK\]'):
    masked_by_hand(b'a [mask] c', 40)


def test_two_texts_are_parted():
  example = parted_by_hand(b' ab [SEP] c\n', 6, {2})
  expected = [*tokens_of('ab'), SEP, *tokens_of('c'), PAD, PAD]
  assert example['tokens'].tolist() == expected
  assert example['mask'].sum() == 4
  assert view_text(example)['text'].data == b'ab [SEP] c'
  # The longer of two that are too long is cut, as in training.
  example = parted_by_hand(b'abcdefgh [SEP] xy', 6, {2})
  assert view_text(example)['text'].data == b'abc [SEP] xy'


@pytest.mark.parametrize(
  ('text', 'counts', 'message'),
  [
    (b'a', {2}, r'Expected two texts, FIRST \[SEP\] SECOND, got 1'),
    (b'a [SEP] b', {1}, 'Expected one text, got 2'),
    (b'a[SEP]b[SEP]c', {1, 2}, 'Expected one text or two texts, .* got 3'),
    (b'[SEP] b', {1, 2}, 'no text on one side'),
    (b' ', {1}, 'no text'),
  ],
)
def test_texts_that_do_not_fit_the_tasks(text, counts, message):
  with pytest.raises(ValueError, match=message):
    parted_by_hand(text, 40, counts)


# From logits to answers.


def logits_for(values, chance=0.5):
  """`[M, 262]`: so likely each value, the other bytes all alike."""
  probabilities = np.full((len(values), 262), (1 - chance) / 255, np.float32)
  probabilities[:, :6] = 100.0  # Special tokens are none of the choices.
  for place, value in enumerate(values):
    probabilities[place, value + 6] = chance
  return np.log(probabilities)


def test_blanks_are_filled_with_the_likeliest_bytes():
  example = masked_by_hand(b'[MASK]b[MASK][MASK]d[MASK]', 8)
  values = [*b'a', *b'?', *'é'.encode(), *b'?', 0xC3, *b'??']
  answer = fill_in([logits_for(values)], [example])
  # A byte that begins a character, alone, is none.
  assert answer.text == 'abéd\ufffd'
  places = [(blank.start, blank.end) for blank in answer.blanks]
  assert places == [(0, 1), (2, 3), (4, 5)]
  first, second, third = answer.blanks
  assert first.probabilities.shape == (1, 256)
  np.testing.assert_allclose(first.probabilities.sum(), 1.0, rtol=1e-6)
  np.testing.assert_allclose(first.probabilities[0, ord('a')], 0.5, rtol=1e-5)
  (choices,) = first.top(2)
  assert choices[0] == (ord('a'), pytest.approx(0.5, rel=1e-5))
  assert choices[1] == (0, pytest.approx(0.5 / 255, rel=1e-5))
  assert [each[0][0] for each in second.top(1)] == list('é'.encode())
  assert third.top(1)[0][0][0] == 0xC3


@pytest.mark.parametrize(
  ('value', 'name'),
  [
    (ord('a'), 'a'),
    (ord(' '), '␣'),
    (ord("'"), "'"),
    (ord('\\'), '\\'),
    (ord('\n'), r'\n'),
    (0xC3, r'\xc3'),
    (0x7F, r'\x7f'),
  ],
)
def test_names_of_bytes(value, name):
  assert byte_name(value) == name


def test_a_filled_text_is_shown_with_its_choices():
  probabilities = np.zeros((2, 256), np.float32)
  probabilities[0, [ord('i'), ord(' ')]] = 0.75, 0.25
  probabilities[1, [ord('n'), 0xC3]] = 0.9, 0.1
  answer = FilledText('being [x]', [Blank(2, 4, probabilities)])
  assert FILLED_TEXT.lines(answer, 2) == [
    'be[in]g [x]',
    'i 75.0%   ␣ 25.0%',
    r'n 90.0%   \xc3 10.0%',
  ]
  result = FILLED_TEXT.json(answer, 1)
  assert result['text'] == 'being [x]'
  ((first,), (second,)) = result['blanks'][0]['bytes']
  assert first == {'byte': 105, 'name': 'i', 'probability': 0.75}
  assert second['name'] == 'n'
  assert (result['blanks'][0]['start'], result['blanks'][0]['end']) == (2, 4)


# A model.


def small_config():
  config = config_module.get_config('mlm')
  config.data.length = config.queries.num_queries = LENGTH
  config.embedding.update(num_channels=16, max_length=LENGTH)
  config.queries.num_channels = 16
  config.encoder.update(
    num_latents=4, latent_channels=16, self_attends_per_block=1
  )
  return config


@pytest.fixture(scope='module')
def run():
  return random_run(small_config())


TEXTS = ('be[MASK][MASK]gs', '[MASK] ä', 'free [MASK]and[MASK]')


@pytest.mark.parametrize('text', TEXTS)
def test_a_run_fills_in_what_its_logits_say(run, text):
  example = masked_by_hand(text.encode(), LENGTH)
  batch = {name: array[None] for name, array in example.items()}
  logits, tokens = np.asarray(run(batch))[0, :, 6:], example['tokens']
  answer = run.predict_text(text)
  expected = b''
  for token, choices in zip(tokens, logits, strict=True):
    value = choices.argmax() if token == MASK else token - 6
    expected += bytes([value]) if token != PAD else b''
  assert answer.text == expected.decode(errors='replace')
  odds = np.exp(logits[tokens == MASK].astype(np.float64))
  np.testing.assert_allclose(
    np.concatenate([blank.probabilities for blank in answer.blanks]),
    odds / odds.sum(axis=1, keepdims=True),
    rtol=1e-4,
    atol=1e-7,
  )


def test_files_and_texts_are_answered_alike_and_errors_name_them(run, tmp_path):
  contents = {
    'good.txt': TEXTS[0].encode() + b'\n',
    'whole.txt': b'nothing to do',
    'long.txt': b'x' * LENGTH + b'[MASK]',
    'latin.txt': 'be[MASK] für'.encode('latin-1'),
    'picture.png': b'',
  }
  for name, data in contents.items():
    (tmp_path / name).write_bytes(data)
  files = [str(tmp_path / name) for name in [*contents, 'missing.txt']]
  results = list(predict.answers(run, files, [TEXTS[1], 'no blank']))
  assert [parts for parts, _ in results] == [
    *((file,) for file in files),
    (TEXTS[1],),
    ('no blank',),
  ]
  good, whole, long, latin, picture, missing, text, none = (
    answer for _, answer in results
  )
  assert good.text == run.predict_text(TEXTS[0]).text
  assert text.text == run.predict_text(TEXTS[1]).text
  for error, file, message in (
    (whole, files[1], r': Nothing is to be filled in'),
    (long, files[2], f': The text has {LENGTH + 1} bytes'),
    (latin, files[3], ' is no UTF-8'),
    (picture, files[4], ': this run reads .txt'),
    (missing, files[5], ': there is no such file'),
    (none, "'no blank'", ': Nothing is to be filled in'),
  ):
    assert str(error).startswith(file + message), error


def test_other_models_of_text_take_the_same():
  files = masked_text(
    None,
    length=6,
    mask_rate=0.1,
    c4='c4',
    wikipedia='wikipedia',
    wikipedia_share=0.5,
    documents=1,
    eval_examples=1,
  ).files
  (example,) = files.from_text(b'a[MASK]')
  assert example['tokens'].tolist() == [ord('a') + 6, MASK, *[PAD] * 4]
  # There is no tokenizer of pieces.
  assert masked_pieces(None, length=8).files is None


# GLUE.


def test_tasks_have_as_many_names_as_classes():
  assert sorted(CLASS_NAMES) == sorted(t for t in TASKS if GLUE_TASKS[t] > 1)
  for task, names in CLASS_NAMES.items():
    assert len(set(names)) == GLUE_TASKS[task]


def test_tasks_judge_the_texts_that_they_are_about():
  outputs = {
    'cola': np.log(np.float32([1, 3])),
    'mnli': np.log(np.float32([1, 1, 2])),
    'stsb': np.float32([3.5]),
  }
  single = judge([outputs], [parted_by_hand(b'a b', 20, {1, 2})])
  assert list(single.classes) == ['cola'] and not single.values
  assert single.classes['cola'].top(1) == [('acceptable', pytest.approx(0.75))]
  pair = judge([outputs], [parted_by_hand(b'a [SEP] b', 20, {1, 2})])
  assert pair.classes['mnli'].top(1) == [('contradiction', pytest.approx(0.5))]
  assert list(pair.classes) == ['mnli'] and pair.values == {'stsb': 3.5}


@pytest.mark.parametrize(
  ('tasks', 'text', 'message'),
  [
    (('mrpc', 'rte'), 'one', 'Expected two texts'),
    (('cola', 'sst2'), 'one [SEP] two', 'Expected one text, got 2'),
    (('cola', 'rte'), 'a[SEP]b[SEP]c', 'Expected one text or two'),
  ],
)
def test_glue_takes_the_texts_of_its_tasks(tasks, text, message, tmp_path):
  files = glue(None, length=20, tasks=tasks).files
  with pytest.raises(ValueError, match=message):
    files.from_text(text.encode())
  path = tmp_path / 'text.txt'
  path.write_text(text)
  with pytest.raises(ValueError, match=f'^{path}: {message}'):
    files.read(path)


def test_judgements_are_shown_task_by_task():
  classes = Classes(('no', 'yes'), np.float32([0.25, 0.75]))
  answer = Judgements({'rte': classes}, {'stsb': 3.456})
  lines = JUDGEMENTS.lines(answer, 1)
  assert lines[0] == 'rte' and lines[-1] == 'stsb 3.46'
  assert lines[1].split()[:2] == ['75.0%', 'yes']
  assert JUDGEMENTS.json(answer, 1) == {
    'tasks': {
      'rte': {'classes': [{'name': 'yes', 'probability': 0.75}]},
      'stsb': {'value': 3.456},
    }
  }
