"""Texts that a person types, for models of bytes: blanks to fill in, and pairs.

`[MASK]` stands for one byte to fill in, `[SEP]` parts two texts; there is no
way to write either of them as it stands.
"""

import pathlib
from collections.abc import Callable, Collection, Sequence

import numpy as np

from experiments.data.dataset import Example, Files
from experiments.files.windows import window_starts
from experiments.modalities.text.examples import (
  joined_example,
  pad,
  pieces,
  token_example,
)
from experiments.modalities.text.files import EXTENSIONS, clean_text, read_text
from experiments.modalities.text.view import Text
from perceiver_jax.tokenizer import MASK, SEP, SPECIAL_TOKENS, ByteTokenizer

BLANK = b'[MASK]'
SEPARATOR = b'[SEP]'
# How special tokens are shown; padding is not.
_SYMBOLS = {MASK: '▢'.encode(), SEP: b' [SEP] '}
_COUNTED = {1: 'one text', 2: 'two texts, FIRST [SEP] SECOND'}
_TOKENIZER = ByteTokenizer()


def masked_files(length: int) -> Files:
  """Returns how texts with blanks become examples.

  Args:
    length: bytes of an example.
  """
  return _text_files(lambda text: masked_by_hand(text, length))


def whole_files(length: int) -> Files:
  """Returns how texts become examples, one after the other where they are long.

  Args:
    length: bytes of an example.
  """

  def examples(text: bytes) -> list[Example]:
    parts = pieces([text], length)
    chosen = window_starts(len(parts), size=1, hop=1)
    return [token_example(parts[i], length) for i in chosen]

  return Files(
    EXTENSIONS,
    lambda path: examples(read_text(path)),
    from_text=lambda text: examples(clean_text(text, 'The text')),
  )


def joined_files(length: int, counts: Collection[int]) -> Files:
  """Returns how texts, and pairs of them, become examples.

  Args:
    length: bytes of an example; longer texts are cut.
    counts: of texts that make an example: 1, 2 or both.
  """
  return _text_files(lambda text: parted_by_hand(text, length, counts))


def masked_by_hand(text: bytes, length: int) -> Example:
  """Makes an example of a text with `[MASK]` for each byte to fill in.

  Args:
    text: UTF-8.
    length: of the example.

  Returns:
    `tokens` int32 `[length]` and `mask` bool `[length]`, False for padding.

  Raises:
    ValueError: there is nothing to fill in, or the text is too long.
  """
  if BLANK not in text:
    raise ValueError(
      'Nothing is to be filled in: write [MASK], in capitals, for each byte '
      'that is.'
    )
  parts = [_TOKENIZER.encode(part) for part in text.split(BLANK)]
  tokens = [parts[0]]
  for part in parts[1:]:
    tokens += [np.array([MASK], np.int32), part]
  tokens = np.concatenate(tokens)
  if len(tokens) > length:
    raise ValueError(
      f'The text has {len(tokens)} bytes, each [MASK] being one, and the model '
      f'takes {length}. Shorten it.'
    )
  return {
    'tokens': pad(tokens, length),
    'mask': np.arange(length) < len(tokens),
  }


def parted_by_hand(
  text: bytes, length: int, counts: Collection[int]
) -> Example:
  """Makes an example of one text, or of two with `[SEP]` between them.

  Args:
    text: UTF-8.
    length: of the example; longer texts are cut.
    counts: of texts that there may be.

  Returns:
    See `text.joined_example`.

  Raises:
    ValueError: there are more or fewer texts, or one is empty.
  """
  texts = [part.strip() for part in text.split(SEPARATOR)]
  if len(texts) not in counts:
    wanted = ' or '.join(_COUNTED[count] for count in sorted(counts))
    raise ValueError(f'Expected {wanted}, got {len(texts)} text(s).')
  if not all(texts):
    raise ValueError('There is no text on one side of [SEP].')
  return joined_example(texts, length)


def view_text(example: Example) -> dict[str, Text]:
  """Returns the text of an example's `tokens`, its blanks as symbols."""
  tokens = example['tokens']
  return {
    'text': Text(
      b''.join(
        _SYMBOLS.get(token, b'')
        if token < len(SPECIAL_TOKENS)
        else bytes([token - len(SPECIAL_TOKENS)])
        for token in tokens.tolist()
      )
    )
  }


def _text_files(example_of: Callable[[bytes], Example]) -> Files:
  def read(path: pathlib.Path) -> Sequence[Example]:
    try:
      return [example_of(read_text(path))]
    except ValueError as error:
      # What is wrong with a text does not say whose it is.
      if str(path) in str(error):
        raise
      raise ValueError(f'{path}: {error}') from error

  return Files(EXTENSIONS, read, from_text=lambda text: [example_of(text)])
