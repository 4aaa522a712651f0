"""The Declaration of Human Rights: what trains, what is held out."""

import collections
import pathlib

import numpy as np
import pytest

from experiments.configs import declaration as config_module
from experiments.data.pipeline import train_batches
from experiments.datasets import declaration as declaration_module
from experiments.datasets.declaration import (
  LANGUAGES,
  declaration_languages,
  declaration_masked,
)
from experiments.tasks import make_task
from perceiver_jax.tokenizer import MASK, PAD, ByteTokenizer

TOKENIZER = ByteTokenizer()
FILE = pathlib.Path(declaration_module.__file__).parent / 'embedded'
TEST_PARAGRAPHS = {*range(20, 26), *range(40, 46)}


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  return str(tmp_path_factory.mktemp('data'))


@pytest.fixture(scope='module')
def languages(data_dir):
  return declaration_languages(data_dir, length=128, min_length=32).load()


@pytest.fixture(scope='module')
def masked(data_dir):
  return declaration_masked(data_dir, length=128, mask_rate=0.15).load()


def rng(seed=0):
  return np.random.default_rng(seed)


def file_rows(*, test):
  text = (FILE / 'declaration.tsv').read_text(encoding='utf-8')
  rows = [line.split('\t') for line in text.splitlines()]
  return [
    (language, int(number), text)
    for language, number, text in rows
    if (int(number) in TEST_PARAGRAPHS) == test
  ]


def all_of(source):
  return [source[i] for i in range(len(source))]


def rows_of(source):
  return [
    (LANGUAGES[each['language']], each['paragraph'], each['text'].decode())
    for each in all_of(source)
  ]


# The split.


def test_paragraphs_are_those_of_the_file(languages):
  train, test = rows_of(languages.train), rows_of(languages.evaluation)
  assert (len(train), len(test)) == (750, 192)
  assert sorted(train) == sorted(file_rows(test=False))
  assert sorted(test) == sorted(file_rows(test=True))


def test_no_paragraph_number_trains_and_is_held_out(languages):
  train = {number for _, number, _ in rows_of(languages.train)}
  test = {number for _, number, _ in rows_of(languages.evaluation)}
  assert not train & test
  assert test == TEST_PARAGRAPHS
  assert len(test) / len(train | test) == pytest.approx(0.2, abs=0.01)


def test_every_language_trains_and_has_twelve_paragraphs_held_out(languages):
  test = collections.Counter(row[0] for row in rows_of(languages.evaluation))
  train = collections.Counter(row[0] for row in rows_of(languages.train))
  assert test == dict.fromkeys(LANGUAGES, 12)
  assert set(train) == set(LANGUAGES)
  assert set(train.values()) == {46, 47, 48}


def test_no_text_of_16_bytes_or_more_trains_and_is_held_out(languages):
  train = {text for _, _, text in rows_of(languages.train)}
  test = {text for _, _, text in rows_of(languages.evaluation)}
  assert not {text for text in train & test if len(text) >= 16}


# Languages.


def test_held_out_paragraphs_are_read_from_the_beginning(languages):
  for raw in all_of(languages.evaluation):
    example = languages.prepare(raw)
    text = TOKENIZER.decode(example['tokens'])
    assert raw['text'].decode().startswith(text)
    assert 126 <= len(text.encode()) <= 128 or text.encode() == raw['text']
    assert example['label'] == raw['language']
    assert example['mask'].sum() == len(text.encode())
    assert (example['tokens'][~example['mask']] == PAD).all()


def test_training_takes_parts_of_paragraphs(languages):
  raw = max(all_of(languages.train), key=lambda each: len(each['text']))
  texts = [
    TOKENIZER.decode(languages.augment(raw, rng(seed))['tokens'])
    for seed in range(200)
  ]
  assert all(text in raw['text'].decode() for text in texts)
  assert len({text[:8] for text in texts}) > 100
  lengths = [len(text.encode()) for text in texts]
  assert 26 <= min(lengths) < 40
  assert 120 < max(lengths) <= 128


def test_languages_train_in_batches(languages):
  batch = next(train_batches(languages, 8, seed=0, position=0))
  assert {key: (x.shape, x.dtype) for key, x in batch.items()} == {
    'tokens': ((8, 128), np.int32),
    'mask': ((8, 128), np.bool_),
    'label': ((8,), np.int32),
    'weight': ((8,), np.float32),
  }


@pytest.mark.parametrize('min_length', [0, 129])
def test_a_wrong_min_length_is_an_error(min_length):
  with pytest.raises(ValueError, match=f'data.min_length.*{min_length}'):
    declaration_languages(None, length=128, min_length=min_length)


# Masked words.


def test_held_out_text_is_read_once_in_order(masked):
  examples = [masked.prepare(raw) for raw in all_of(masked.evaluation)]
  together = ''.join(TOKENIZER.decode(each['targets']) for each in examples)
  rows = sorted(file_rows(test=True))
  assert together == '\n'.join(text for _, _, text in rows)


def test_held_out_words_are_the_same_in_every_evaluation(masked):
  for raw in all_of(masked.evaluation)[:20]:
    one, two = masked.prepare(raw), masked.prepare(raw)
    for key, values in one.items():
      np.testing.assert_array_equal(values, two[key])


def test_held_out_words_are_masked_at_the_rate(masked):
  examples = [masked.prepare(raw) for raw in all_of(masked.evaluation)]
  weights = np.stack([each['target_weights'] for each in examples])
  targets = np.stack([each['targets'] for each in examples])
  tokens = np.stack([each['tokens'] for each in examples])
  in_word = (targets != PAD) & ~np.isin(targets, TOKENIZER.encode(' \n'))
  assert abs(weights.sum() / in_word.sum() - 0.15) < 0.01
  assert (weights.sum(axis=1) > 0).all()
  assert ((tokens == MASK) == (weights == 1.0)).all()


def test_training_masks_other_crops_and_words_each_time(masked):
  raw = masked.train[5]
  examples = [masked.augment(raw, rng(seed)) for seed in range(50)]
  texts = {TOKENIZER.decode(each['targets']) for each in examples}
  assert len(texts) > 25
  for each in examples:
    text = TOKENIZER.decode(each['targets'])
    assert text in raw['text'].decode()
    assert 123 <= each['mask'].sum() <= 128
    assert (each['tokens'] == MASK).any()


def test_training_text_is_never_held_out_text(masked):
  train = b''.join(raw['text'] for raw in all_of(masked.train))
  for raw in all_of(masked.evaluation)[:-1]:
    assert raw['text'] not in train


@pytest.mark.parametrize('mask_rate', [0.0, 1.5])
def test_a_wrong_mask_rate_is_an_error(mask_rate):
  with pytest.raises(ValueError, match=f'data.mask_rate.*{mask_rate}'):
    declaration_masked(None, length=128, mask_rate=mask_rate)


# The specification and the configs.


@pytest.mark.parametrize('variant', ['language', 'mlm'])
def test_configs_build_and_examples_are_as_specified(variant, data_dir):
  task = make_task(config_module.get_config(variant), data_dir)
  data = task.data.load()
  for example in (
    data.augment(data.train[0], rng()),
    data.prepare(data.evaluation[0]),
  ):
    assert example.keys() == task.data.example.keys()
    for key, spec in task.data.example.items():
      assert (example[key].shape, example[key].dtype) == (
        spec.shape,
        spec.dtype,
      )
  assert task.loss_function is not None


def test_an_unknown_variant_is_an_error():
  with pytest.raises(ValueError, match=r"'language', 'mlm'.*'words'"):
    config_module.get_config('words')
