"""Texts with their blanks filled in; the record of such answers."""

import html
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.answers.answer import (
  Answer,
  Panel,
  ViewOf,
  panels_of_inputs,
)
from experiments.data.dataset import Example
from experiments.modalities.senses import html_of
from experiments.pages.tables import Html
from perceiver_jax.tokenizer import MASK, SPECIAL_TOKENS

_TOP_BYTES = 3


class Blank(NamedTuple):
  """What a model puts in the place of masked bytes that follow each other.

  Attributes:
    start: character of the filled text where it begins.
    end: character after its last.
    probabilities: float `[n, 256]`, of the values of each of its bytes.
  """

  start: int
  end: int
  probabilities: np.ndarray

  def top(self, k: int) -> list[list[tuple[int, float]]]:
    """Returns, for each byte, the k likeliest with their probabilities."""
    orders = np.argsort(-self.probabilities, axis=-1, kind='stable')[:, :k]
    return [
      [(int(value), float(each[value])) for value in order]
      for each, order in zip(self.probabilities, orders, strict=True)
    ]


class FilledText(NamedTuple):
  """A text whose masked bytes are filled in, each with its likeliest value.

  Attributes:
    text: as filled in; U+FFFD where the bytes of a blank are not UTF-8.
    blanks: that were filled in, in order.
  """

  text: str
  blanks: Sequence[Blank]


def fill_in(
  predictions: Sequence[np.ndarray], examples: Sequence[Example]
) -> FilledText:
  """Fills in the masked bytes of a text.

  Args:
    predictions: logits `[M, 262]` of its only example.
    examples: with `tokens` int `[M]` and `mask` bool `[M]`, False for padding.
  """
  (logits,), (example,) = predictions, examples
  probabilities = _probabilities_of_bytes(logits)
  tokens = example['tokens'][example['mask']]
  text, blanks = '', []
  for masked, places in itertools.groupby(
    range(len(tokens)), key=lambda place: tokens[place] == MASK
  ):
    places = list(places)
    values = tokens[places] - len(SPECIAL_TOKENS)
    if masked:
      values = probabilities[places].argmax(axis=-1)
    # Blanks stand between whole characters, so pieces can be decoded alone.
    piece = bytes(values.tolist()).decode('utf-8', errors='replace')
    if masked:
      end = len(text) + len(piece)
      blanks.append(Blank(len(text), end, probabilities[places]))
    text += piece
  return FilledText(text, blanks)


def _probabilities_of_bytes(logits: np.ndarray) -> np.ndarray:
  """Softmax of the tokens that are bytes, `[M, 256]`."""
  logits = logits[:, len(SPECIAL_TOKENS) :]
  odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
  return odds / odds.sum(axis=-1, keepdims=True)


def lines_of(answer: FilledText, top: int) -> list[str]:
  """Returns the text, and a line of choices for each byte of a blank."""
  lines, end = [], 0
  text = ''
  for blank in answer.blanks:
    filled = answer.text[blank.start : blank.end]
    text += f'{answer.text[end : blank.start]}[{filled}]'
    end = blank.end
    for choices in blank.top(top):
      lines.append(
        '   '.join(
          f'{byte_name(value)} {probability:.1%}'
          for value, probability in choices
        )
      )
  return [text + answer.text[end:], *lines]


def json_of(answer: FilledText, top: int) -> dict[str, Any]:
  """Returns the text, and the choices for each byte of each blank."""
  return {
    'text': answer.text,
    'blanks': [
      {
        'start': blank.start,
        'end': blank.end,
        'bytes': [
          [
            {'byte': value, 'name': byte_name(value), 'probability': chance}
            for value, chance in choices
          ]
          for choices in blank.top(top)
        ],
      }
      for blank in answer.blanks
    ],
  }


def panels_of(answer: FilledText) -> list[Panel]:
  """Returns the text with what was filled in marked."""
  text = _marked(answer, lambda blank: _choices(blank.top(_TOP_BYTES)))
  return [Panel('Filled in', Html(f'<pre class="text">{text}</pre>'))]


def said_of(answer: FilledText, top: int) -> Html:
  """Returns the marked text, and a row of choices for each byte."""
  rows = ''.join(
    f'<tr>{_row(choices)}</tr>'
    for blank in answer.blanks
    for choices in blank.top(top)
  )
  return Html(
    f'<div class="said"><p class="filled">{_marked(answer)}</p>'
    f'<div class="choices-wide"><table class="choices">{rows}</table></div>'
    '</div>'
  )


def full_panels(
  answer: FilledText, example: Example, view: ViewOf
) -> list[Panel]:
  """Returns the masked text, the true one where it is known, and the filled."""
  inputs = panels_of_inputs(example, view)
  if 'targets' in example:
    whole = view({**example, 'tokens': example['targets']})
    inputs += [Panel('True', Html(html_of(each))) for each in whole.values()]
  return [*inputs, *panels_of(answer)]


FILLED_TEXT = Answer(
  purpose='filling in masked text',
  outputs='Logits of the token at each place. Of models of bytes a token is a '
  'byte of UTF-8 plus 6; 0 is padding, 3 a byte that is masked.',
  lines=lines_of,
  json=json_of,
  panels=panels_of,
  lower=('loss', 'bits_per_byte'),
  higher=('accuracy',),
  said=said_of,
  full=full_panels,
)


def _marked(
  answer: FilledText, told: Callable[[Blank], str] | None = None
) -> str:
  """The text as HTML.

  Args:
    answer: the text.
    told: what is shown when one points at a blank.
  """
  pieces, at = [], 0
  for blank in answer.blanks:
    pieces.append(html.escape(answer.text[at : blank.start]))
    filled = html.escape(answer.text[blank.start : blank.end])
    title = f' title="{html.escape(told(blank))}"' if told else ''
    pieces.append(f'<mark{title}>{filled}</mark>')
    at = blank.end
  pieces.append(html.escape(answer.text[at:]))
  return ''.join(pieces).replace('\0', '\ufffd')


def _row(choices: list[tuple[int, float]]) -> str:
  """Cells of the choices of a byte, the likeliest as its head."""
  cells = [
    f'{html.escape(byte_name(value))} {100 * share:.1f}\N{NO-BREAK SPACE}%'
    for value, share in choices
  ]
  head, *others = cells
  return f'<th>{head}</th>' + ''.join(f'<td>{each}</td>' for each in others)


def byte_name(value: int) -> str:
  r"""Returns a byte as it may be read: `a`, `␣` for a blank, `\xc3`."""
  if value == ord(' '):
    return '␣'
  character = bytes([value])
  return chr(value) if 0x20 < value < 0x7F else repr(character)[2:-1]


def _choices(top: list[list[tuple[int, float]]]) -> str:
  """The likeliest values of each byte, in words."""
  return '; '.join(
    ', '.join(f'{_character(value)} {share:.0%}' for value, share in choices)
    for choices in top
  )


def _character(value: int) -> str:
  is_seen = 0x20 < value < 0x7F
  return chr(value) if is_seen else f'0x{value:02x}'
