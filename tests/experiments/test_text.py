"""Crops of whole characters, masks of whole words."""

import numpy as np
import pytest

from experiments.modalities.text.examples import (
  crop,
  joined_example,
  masked_example,
  masked_words,
  pad,
  pieces,
  random_crop,
  token_example,
)
from perceiver_jax.tokenizer import MASK, PAD, SEP, ByteTokenizer

TOKENIZER = ByteTokenizer()
TEXT = 'Enhver har rett til fri bevegelighet og til fritt å velge sitt bosted.'
# Characters of 1, 2, 3 and 4 bytes.
MIXED = 'aé€𝄞'.encode()


def rng(seed=0):
  return np.random.default_rng(seed)


# Crops.


@pytest.mark.parametrize(
  ('start', 'length', 'expected'),
  [
    (0, 10, 'aé€𝄞'),
    (0, 99, 'aé€𝄞'),
    (0, 9, 'aé€'),
    (0, 7, 'aé€'),
    (0, 6, 'aé€'),
    (0, 5, 'aé'),
    (0, 2, 'a'),
    (1, 5, 'é€'),
    (2, 4, '€'),
    (2, 3, ''),
    (3, 3, '€'),
    (10, 5, ''),
  ],
)
def test_a_crop_has_whole_characters_only(start, length, expected):
  assert crop(MIXED, start, length).decode() == expected


def test_random_crops_begin_everywhere_and_are_full():
  text = bytes(range(65, 75))
  crops = [random_crop(text, 4, rng(seed)) for seed in range(200)]
  assert {each[0] - 65 for each in crops} == set(range(7))
  assert {len(each) for each in crops} == {4}
  assert all(each in text for each in crops)


@pytest.mark.parametrize('length', [10, 11, 400])
def test_a_text_that_fits_is_not_cropped(length):
  assert random_crop(MIXED, length, rng()) == MIXED


def test_random_crops_of_any_language_can_be_read():
  text = ('žluťoučký kůň 日本語 ' * 5).encode()
  for seed in range(100):
    cropped = random_crop(text, 20, rng(seed))
    assert cropped.decode() in text.decode()
    assert 15 <= len(cropped) <= 20


def test_pieces_are_the_texts_on_lines_cut_without_loss():
  texts = [TEXT.encode(), MIXED * 4, b'end']
  cut = pieces(texts, 16)
  assert b''.join(cut) == b'\n'.join(texts)
  assert all(13 <= len(piece) <= 16 for piece in cut[:-1])
  for piece in cut:
    piece.decode()


def test_pieces_hold_a_character():
  assert pieces([MIXED], 4) == ['aé'.encode(), '€'.encode(), '𝄞'.encode()]
  with pytest.raises(ValueError, match='at least 4'):
    pieces([MIXED], 3)


# Tokens.


def test_pad():
  assert pad(np.array([7, 8], np.int32), 4).tolist() == [7, 8, PAD, PAD]
  assert pad(np.array([True, False]), 3).tolist() == [True, False, False]
  with pytest.raises(ValueError, match='2 tokens do not fit into 1'):
    pad(np.array([7, 8], np.int32), 1)


def test_a_token_example_in_numbers():
  example = token_example('é!'.encode(), 5)
  assert example['tokens'].tolist() == [0xC3 + 6, 0xA9 + 6, 0x21 + 6, PAD, PAD]
  assert example['tokens'].dtype == np.int32
  assert example['mask'].tolist() == [True, True, True, False, False]


# Words.


def words_of(text):
  """For each byte of a text the number of its word; -1 between words."""
  numbers, number, inside = [], -1, False
  for byte in text:
    space = chr(byte) in ' \t\n\v\f\r'
    number += not space and not inside
    inside = not space
    numbers.append(number if inside else -1)
  return np.array(numbers)


@pytest.mark.parametrize('text', [TEXT, f' {TEXT}\n', 'a  b\tc\nd e', 'word'])
@pytest.mark.parametrize('mask_rate', [0.15, 0.5, 1.0])
def test_words_are_masked_whole_or_not_at_all(text, mask_rate):
  words = words_of(text.encode())
  for seed in range(20):
    masked = masked_words(TOKENIZER.encode(text), mask_rate, rng(seed))
    assert masked.shape == words.shape
    assert not masked[words == -1].any()
    by_word = [set(masked[words == word]) for word in range(words.max() + 1)]
    assert all(len(each) == 1 for each in by_word)
    assert {True} in by_word


def test_the_share_of_masked_words_and_bytes_is_the_rate():
  # 13 words: 1.95 are to be masked.
  tokens = TOKENIZER.encode(TEXT)
  words = words_of(TEXT.encode())
  counts, shares = [], []
  for seed in range(2000):
    masked = masked_words(tokens, 0.15, rng(seed))
    counts.append(len(set(words[masked])))
    shares.append(masked.sum() / (words >= 0).sum())
  assert set(counts) == {1, 2}
  assert abs(np.mean(counts) / 13 - 0.15) < 0.002
  assert abs(np.mean(shares) - 0.15) < 0.005


def test_every_word_is_masked_as_often_as_any_other():
  tokens = TOKENIZER.encode('one two three four five six seven eight nine ten')
  masked = np.mean(
    [masked_words(tokens, 0.15, rng(seed)) for seed in range(3000)], axis=0
  )
  in_word = masked > 0
  assert in_word.sum() == len(tokens) - 9
  assert abs(masked[in_word] - 0.15).max() < 0.03


def test_one_word_at_least_and_all_at_rate_one():
  assert masked_words(TOKENIZER.encode('one two'), 0.01, rng()).sum() == 3
  assert masked_words(TOKENIZER.encode('one two'), 1.0, rng()).sum() == 6


@pytest.mark.parametrize('text', ['', ' \n '])
def test_without_words_nothing_is_masked(text):
  assert masked_words(TOKENIZER.encode(text), 0.5, rng()).sum() == 0


# Masked examples.


@pytest.mark.parametrize('seed', range(5))
def test_inputs_hold_the_mask_token_and_targets_the_bytes(seed):
  text, length = TEXT.encode(), 90
  example = masked_example(text, length, 0.15, rng(seed))
  masked = example['target_weights'] == 1.0
  assert 0 < masked.sum() < len(text)
  assert (example['tokens'][masked] == MASK).all()
  assert (example['tokens'] == MASK).sum() == masked.sum()
  assert (example['tokens'] == example['targets'])[~masked].all()
  assert TOKENIZER.decode(example['targets']) == TEXT
  assert set(example['target_weights']) == {0.0, 1.0}


@pytest.mark.parametrize('seed', range(5))
def test_padding_is_never_masked(seed):
  example = masked_example(b'a b', 8, 1.0, rng(seed))
  assert example['target_weights'].tolist() == [1, 0, 1, 0, 0, 0, 0, 0]
  assert example['mask'].tolist() == [True] * 3 + [False] * 5
  assert example['tokens'].tolist() == [MASK, 32 + 6, MASK] + [PAD] * 5
  assert example['targets'].tolist() == [97 + 6, 32 + 6, 98 + 6] + [PAD] * 5


def test_types_and_shapes():
  example = masked_example(TEXT.encode(), 80, 0.15, rng())
  assert {key: (x.shape, x.dtype) for key, x in example.items()} == {
    'tokens': ((80,), np.int32),
    'mask': ((80,), np.bool_),
    'targets': ((80,), np.int32),
    'target_weights': ((80,), np.float32),
  }


def test_the_generator_decides():
  one, again, other = (
    masked_example(TEXT.encode(), 80, 0.15, rng(seed)) for seed in (1, 1, 2)
  )
  assert one['tokens'].tolist() == again['tokens'].tolist()
  assert one['tokens'].tolist() != other['tokens'].tolist()


# One text or two.


def joined(texts, length):
  example = joined_example([text.encode() for text in texts], length)
  tokens = example['tokens'][example['mask']]
  assert (example['tokens'][~example['mask']] == PAD).all()
  assert len(example['tokens']) == length
  return TOKENIZER.decode(np.where(tokens == SEP, ord('|') + 6, tokens))


@pytest.mark.parametrize(
  ('texts', 'length', 'expected'),
  [
    (['abcdef'], 8, 'abcdef'),
    (['abcdef'], 4, 'abcd'),
    (['abc', 'de'], 8, 'abc|de'),
    (['abc', 'de'], 6, 'abc|de'),
    (['abcdefgh', 'ij'], 8, 'abcde|ij'),
    (['ab', 'cdefghij'], 8, 'ab|cdefg'),
    (['abcdefgh', 'ijklmnop'], 8, 'abc|ijkl'),
    (['abcdefgh', 'ijklmnop'], 9, 'abcd|ijkl'),
    (['', 'abcdefgh'], 4, '|abc'),
    (['abcdefgh', ''], 4, 'abc|'),
    (['aé', 'bé'], 6, 'a|bé'),
  ],
)
def test_texts_are_joined_and_the_longer_one_is_cut(texts, length, expected):
  assert joined(texts, length) == expected
