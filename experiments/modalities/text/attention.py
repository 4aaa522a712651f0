"""Attention drawn over texts, a cell for each character."""

import importlib.resources
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.data.modality import (
  Attended,
  AttentionDrawing,
  Cells,
  Panel,
  cannot_draw,
)
from experiments.pages.attention_colours import marker
from perceiver_jax.tokenizer import MASK, SPECIAL_TOKENS

# Letters in a line of a picture; sizes in inches.
_COLUMNS, _WIDTH, _LINE_HEIGHT = 64, 6.4, 0.2
# A letter of this font is 0.602 of its size wide: as wide as a column.
_LETTERS = {
  'family': 'DejaVu Sans Mono',
  'size': 72 * _WIDTH / _COLUMNS / 0.602,
  'va': 'center_baseline',
  'color': 'black',
}
_FIRST_OF_OTHER_WIDTH = '\u0530'  # After Latin, Greek and Cyrillic.


def _cells(
  grid_shape: tuple[int, ...], example: Mapping[str, Any], num_inputs: int
) -> Cells:
  pieces, firsts = characters(example['tokens'][:num_inputs])
  return Cells(grid_shape, (firsts,), labels=pieces)


def characters(
  tokens: Sequence[int],
) -> tuple[tuple[str, ...], tuple[int, ...]]:
  """Joins the bytes of a character.

  Args:
    tokens: bytes and special tokens, see `ByteTokenizer`.

  Returns:
    The characters, a symbol for each special token, and the number of the
    first token of each.
  """
  pieces, firsts = [], []
  held: list[int] = []

  def finish() -> None:
    if held:
      pieces.append(bytes(held).decode('utf-8', errors='replace'))
      held.clear()

  for i, token in enumerate(tokens):
    byte = int(token) - len(SPECIAL_TOKENS)
    if held and byte >= 0 and 0x80 <= byte < 0xC0:
      held.append(byte)
      continue
    finish()
    firsts.append(i)
    if byte >= 0:
      held.append(byte)
    else:
      pieces.append('▢' if token == MASK else '·')
  finish()
  return tuple(pieces), tuple(firsts)


def _page(attended: Attended) -> dict[str, Any]:
  if len(attended.cells) != 1:
    raise cannot_draw(attended)
  return {'kind': 'text', 'pieces': list(attended.labels)}


def _panel(attended: Attended) -> tuple[Panel, tuple[float, float]]:
  if len(attended.cells) != 1:
    raise cannot_draw(attended)
  shown = ['⏎' if piece == '\n' else piece for piece in attended.labels]
  lines = [
    shown[start : start + _COLUMNS] for start in range(0, len(shown), _COLUMNS)
  ]

  def draw(axes: Any, levels: np.ndarray) -> None:
    cells = np.zeros(len(lines) * _COLUMNS)
    cells[: len(shown)] = levels
    cells = cells.reshape(len(lines), _COLUMNS)
    axes.set_facecolor('white')
    axes.imshow(marker(cells), aspect='auto', interpolation='nearest')
    for row, line in enumerate(lines):
      for column, text in _placed(line):
        axes.text(column - 0.5, row, text, **_LETTERS)

  return draw, (_WIDTH, _LINE_HEIGHT * len(lines))


def _placed(line: Sequence[str]) -> list[tuple[int, str]]:
  """Returns texts and their columns: one, where letters are of one width."""
  if all(len(piece) == 1 and piece < _FIRST_OF_OTHER_WIDTH for piece in line):
    return [(0, ''.join(line))]
  return list(enumerate(line))


OVER_TEXTS = AttentionDrawing(
  _page,
  (importlib.resources.files('experiments.modalities.text') / 'attention.js',),
  _panel,
  _cells,
)
