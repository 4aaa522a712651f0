"""Text on the host: crops of UTF-8 bytes, padded, and whole words masked.

Perceiver IO, appendix F: documents are concatenated and cut to the length of
the model, and 15 % of the words are masked, all bytes of a word or none.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.data.dataset import Example, array_spec
from perceiver_jax.tokenizer import MASK, PAD, SEP, ByteTokenizer

_TOKENIZER = ByteTokenizer()
# By token: whether it is part of a word.
_IN_WORD = np.ones(_TOKENIZER.vocab_size, np.bool_)
_IN_WORD[_TOKENIZER.encode(' \t\n\v\f\r')] = False


def crop(text: bytes, start: int, length: int) -> bytes:
  """Returns at most `length` bytes of UTF-8 text, whole characters only.

  Args:
    text: UTF-8.
    start: of the crop, in bytes; moves on to where a character begins.
    length: in bytes; less where a character would be cut or the text ends.
  """
  start, stop = crop_ends(text, start, length)
  return text[start:stop]


def crop_ends(text: bytes, start: int, length: int) -> tuple[int, int]:
  """Returns where a `crop` begins and ends, in bytes."""
  stop = min(start + length, len(text))
  while 0 < stop < len(text) and _continues_character(text[stop]):
    stop -= 1
  while start < stop and _continues_character(text[start]):
    start += 1
  return start, stop


def random_crop(text: bytes, length: int, rng: np.random.Generator) -> bytes:
  """Returns a crop whose start is uniform; a shorter text as it is."""
  start, stop = random_ends(text, length, rng)
  return text[start:stop]


def random_size(min_share: float, length: int, rng: np.random.Generator) -> int:
  """Returns how long a training text is, of this share of `length` or more."""
  shortest = max(1, int(min_share * length))
  return int(rng.integers(shortest, length + 1))


def random_ends(
  text: bytes, length: int, rng: np.random.Generator
) -> tuple[int, int]:
  """Returns where a `random_crop` begins and ends, in bytes."""
  start = int(rng.integers(max(0, len(text) - length) + 1))
  return crop_ends(text, start, length)


def pieces(texts: Sequence[bytes], length: int) -> list[bytes]:
  """Concatenates texts, a line each, and cuts the whole into pieces.

  Args:
    texts: UTF-8.
    length: of a piece in bytes, at least 4; less where a character would be
      cut, and at the end.
  """
  if length < 4:
    raise ValueError(
      f'A piece of {length} bytes may be too short for a character; cut text '
      'into at least 4.'
    )
  whole = b'\n'.join(texts)
  cut, start = [], 0
  while start < len(whole):
    cut.append(crop(whole, start, length))
    start += len(cut[-1])
  return cut


def pad(tokens: np.ndarray, length: int) -> np.ndarray:
  """Fills tokens `[n]` up with padding, `[length]`.

  Raises:
    ValueError: there are more than `length` tokens.
  """
  if len(tokens) > length:
    raise ValueError(
      f'{len(tokens)} tokens do not fit into {length}; crop the text first.'
    )
  padded = np.full(length, PAD, tokens.dtype)
  padded[: len(tokens)] = tokens
  return padded


def token_example(text: bytes, length: int) -> Example:
  """Returns the inputs of a model that reads text.

  Args:
    text: at most `length` bytes.
    length: of the example.

  Returns:
    `tokens` int32 `[length]` and `mask` bool `[length]`, False for padding.
  """
  return {
    'tokens': pad(_TOKENIZER.encode(text), length),
    'mask': np.arange(length) < len(text),
  }


def joined_example(texts: Sequence[bytes], length: int) -> Example:
  """Returns the inputs of a model that reads one text, or compares two.

  Args:
    texts: one or two. Of two that are too long, the longer one is cut.
    length: of the example.

  Returns:
    As `token_example`, with the token [SEP] between two texts.
  """
  if len(texts) == 1:
    return token_example(crop(texts[0], 0, length), length)
  first, second = texts
  room = length - 1
  sizes = sorted((len(first), len(second)))
  longest = max(room - sizes[0], room // 2)
  first = _TOKENIZER.encode(crop(first, 0, longest))
  second = _TOKENIZER.encode(crop(second, 0, room - len(first)))
  tokens = np.concatenate([first, [np.int32(SEP)], second])
  return {
    'tokens': pad(tokens, length),
    'mask': np.arange(length) < len(tokens),
  }


def masked_example(
  text: bytes, length: int, mask_rate: float, rng: np.random.Generator
) -> Example:
  """Returns inputs and targets of a masked language model.

  Args:
    text: at most `length` bytes.
    length: of the example.
    mask_rate: see `masked_words`.
    rng: chooses the words.

  Returns:
    `token_example` with the mask token for all bytes of masked words;
    `targets` int32 `[length]`, the tokens before, and `target_weights` float32
    `[length]`, 1 where they are masked.
  """
  example = token_example(text, length)
  targets = example['tokens']
  masked = pad(masked_words(targets[: len(text)], mask_rate, rng), length)
  return {
    'tokens': np.where(masked, np.int32(MASK), targets),
    'mask': example['mask'],
    'targets': targets,
    'target_weights': masked.astype(np.float32),
  }


def masked_spec(length: int) -> dict[str, Any]:
  """Returns shapes and dtypes of `masked_example`."""
  return {
    'tokens': array_spec(length, dtype=np.int32),
    'mask': array_spec(length, dtype=np.bool_),
    'targets': array_spec(length, dtype=np.int32),
    'target_weights': array_spec(length),
  }


def masked_words(
  tokens: np.ndarray, mask_rate: float, rng: np.random.Generator
) -> np.ndarray:
  """Chooses words, runs of bytes between whitespace, to be masked.

  Args:
    tokens: of text, `[n]` int.
    mask_rate: share of the words. The number of words is rounded up or down
      at random, so that it is the share on average; at least one is masked.
    rng: chooses.

  Returns:
    `[n]` bool, True for all bytes of the chosen words.
  """
  in_word = _IN_WORD[tokens]
  begins = in_word.copy()
  begins[1:] &= ~in_word[:-1]
  num_words = int(begins.sum())
  if not num_words:
    return np.zeros(len(tokens), np.bool_)
  num_masked = max(1, int(mask_rate * num_words + rng.random()))
  chosen = rng.permutation(num_words) < num_masked
  # Before the first word stands whitespace: any number does.
  return in_word & chosen[begins.cumsum() - 1]


def _continues_character(byte: int) -> bool:
  """Whether a byte of UTF-8 is the second or a later one of a character."""
  return byte & 0xC0 == 0x80
