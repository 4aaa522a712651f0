"""Bytes as tokens: round trips, the released models' numbers, padding."""

import numpy as np
import pytest

from perceiver_jax.tokenizer import (
  BOS,
  CLS,
  EOS,
  MASK,
  PAD,
  SEP,
  SPECIAL_TOKENS,
  ByteTokenizer,
)

TOKENIZER = ByteTokenizer()


@pytest.mark.parametrize(
  'text',
  [
    '',
    'plain ASCII,\n\ttabs and \x00 too',
    'Grüße, naïveté',
    'Привет мир',
    '知覚者は何でも見る',
    'שלום عليكم',
    '👩‍🚀 𝄞',
  ],
)
def test_text_of_any_language_comes_back(text):
  tokens = TOKENIZER.encode(text)
  assert tokens.dtype == np.int32
  assert tokens.shape == (len(text.encode('utf-8')),)
  assert TOKENIZER.decode(tokens) == text


def test_every_byte_has_a_token_of_its_own_after_the_special_ones():
  tokens = TOKENIZER.encode(bytes(range(256)))
  np.testing.assert_array_equal(tokens, np.arange(6, 262))
  assert TOKENIZER.vocab_size == 262


def test_golden_tokens_of_the_released_models():
  np.testing.assert_array_equal(
    TOKENIZER.encode('aé'), [97 + 6, 0xC3 + 6, 0xA9 + 6]
  )
  assert (PAD, BOS, EOS, MASK, CLS, SEP) == (0, 1, 2, 3, 4, 5)
  assert SPECIAL_TOKENS[MASK] == '[MASK]' and SPECIAL_TOKENS[PAD] == '[PAD]'


def test_special_tokens_are_left_out_of_the_text():
  text = TOKENIZER.encode('ab')
  tokens = np.concatenate([[CLS], text[:1], [MASK], text[1:], [SEP, PAD]])
  assert TOKENIZER.decode(tokens) == 'ab'


def test_bytes_that_are_not_utf_8_become_replacement_characters():
  # A truncated two-byte character, and a byte that never occurs.
  tokens = TOKENIZER.encode('aé'.encode()[:-1] + b'b\xff')
  assert TOKENIZER.decode(tokens) == 'a\ufffdb\ufffd'


def test_batches_are_padded_and_cut_and_the_mask_says_where():
  tokens, mask = TOKENIZER.encode_batch(['abcde', 'é', ''], 3)
  np.testing.assert_array_equal(
    tokens,
    [[103, 104, 105], [0xC3 + 6, 0xA9 + 6, PAD], [PAD, PAD, PAD]],
  )
  np.testing.assert_array_equal(
    mask, [[True] * 3, [True, True, False], [False] * 3]
  )
  assert tokens.dtype == np.int32 and mask.dtype == np.bool_


@pytest.mark.parametrize('token', [-1, 262])
def test_tokens_outside_the_vocabulary(token):
  with pytest.raises(ValueError, match=f'from 0 to 261.*{token}'):
    TOKENIZER.decode(np.array([100, token]))
