"""Maps of attention as one HTML page that needs nothing else, no network.

One moves over the input and sees which latents look there, and picks a latent
to see where it looks at each depth.
"""

import base64
import html
import importlib.resources
import json
import string
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.attention.maps import (
  AttentionMaps,
  chosen_latents,
  levels,
)
from experiments.modalities.senses import sense_of
from experiments.pages.attention_colours import RAMP

_ROOM = importlib.resources.files('experiments.attention')
_MOST_LATENTS = 64
_PRECISION = (
  'Weights on this page are 8 bit: the square root of their part of the '
  'brightest. Entropy and coverage are of the exact weights.'
)


def attention_page(
  title: str,
  maps: AttentionMaps,
  *,
  note: str = '',
  latents: Sequence[int] | None = None,
) -> str:
  """Returns the page.

  Args:
    title: its heading, such as the name of the file.
    maps: what the latents look at.
    note: a line below the heading, such as what the model says of the file.
    latents: to show; None for all, or the 64 most different.

  Returns:
    HTML; style, scripts, pictures and weights are in it.

  Raises:
    ValueError: there are no such latents.
  """
  chosen = chosen_latents(maps, latents, _MOST_LATENTS)
  return string.Template(_read('page.html')).substitute(
    title=html.escape(title),
    note=html.escape(note),
    style=_read('page.css'),
    script='\n'.join(_scripts(maps)),
    data=_embedded(page_data(maps, chosen)),
    num_latents=maps.num_latents,
    num_inputs=f'{maps.num_inputs:,}',
    precision=_PRECISION,
  )


def page_data(maps: AttentionMaps, latents: Sequence[int]) -> dict[str, Any]:
  """Returns what the scripts of the page read, to be written as JSON.

  Args:
    maps: what the latents look at.
    latents: numbers of those to show.

  Returns:
    Numbers of every depth and row, one after the other; the first row is the
    mean of all latents, then there is one for each in `latents`. A byte b of
    `levels` is (b / 255)^2 of `full` times the attention of an average place.
  """

  bright, full = levels(maps.lifts(latents))

  def rows(values: np.ndarray, together: np.ndarray) -> list[float]:
    both = np.concatenate([together[:, None], values[:, latents]], axis=1)
    return [round(float(x), 4) for x in both.reshape(-1)]

  return {
    'ramp': RAMP,
    'latents': list(latents),
    'depths': maps.num_depths,
    'rows': len(latents) + 1,
    'inputs_in_all': maps.num_inputs,
    'entropy': rows(
      maps.entropy / maps.most_entropy,
      maps.entropy_together / maps.most_entropy,
    ),
    'coverage': rows(maps.coverage, maps.coverage_together),
    'full': [float(f'{x:.5g}') for x in full.reshape(-1)],
    'shares': {
      name: rows(share, share.mean(axis=1))
      for name, share in maps.shares.items()
    },
    'inputs': [
      {
        'name': name,
        **sense_of(each.view).attention.page(each),
        **_weights(bright[name]),
      }
      for name, each in maps.modalities.items()
    ],
  }


def _weights(levels: np.ndarray) -> dict[str, Any]:
  """Returns maps `[depths, rows, *cells]`, 8 bit a cell."""
  data = np.rint(255 * levels).astype(np.uint8).tobytes()
  return {
    'cells': list(levels.shape[2:]),
    'levels': base64.b64encode(data).decode(),
  }


def _scripts(maps: AttentionMaps) -> list[str]:
  """The scripts of a page, in the order in which they need each other."""
  of_senses = [
    script
    for each in maps.modalities.values()
    for script in sense_of(each.view).attention.scripts
  ]
  return [
    _read('drawing.js'),
    *dict.fromkeys(each.read_text(encoding='utf-8') for each in of_senses),
    _read('page.js'),
  ]


def _read(name: str) -> str:
  return _ROOM.joinpath(name).read_text(encoding='utf-8')


def _embedded(data: Mapping[str, Any]) -> str:
  """JSON that no text in it can end the script of."""
  text = json.dumps(data, ensure_ascii=True, separators=(',', ':'))
  for character in '<>&':
    text = text.replace(character, f'\\u{ord(character):04x}')
  return text
