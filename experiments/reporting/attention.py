"""What the latents of a run look at, in a few held-out examples."""

import html

from experiments.attention.maps import chosen_latents
from experiments.attention.maps_of import AttentionOf
from experiments.data.dataset import Example
from experiments.pages.encodings import picture_data
from experiments.pages.tables import Html
from experiments.reporting.held_out import Gallery
from experiments.runs.trained import TrainedRun

_LATENTS = 4


def attention_drawings(run: TrainedRun, examples: Gallery) -> Html:
  """Returns drawings of the examples of the lowest and the highest loss.

  Args:
    run: that was trained.
    examples: that the page shows.

  Returns:
    '' where the model has no latents, or nothing of its inputs can be seen.
  """
  chosen = [
    (f'{kind}, {some[0].name}', some[0].example)
    for kind, some in (('Best', examples.best), ('Worst', examples.worst))
    if some
  ]
  if not chosen:
    return Html('')
  try:
    look = AttentionOf(run)
    drawn = [_drawings(look, *each) for each in chosen]
  except ValueError:  # There is nothing to look at, or no way to draw it.
    return Html('')
  return Html(f'<div class="attention">{"".join(drawn)}</div>')


def _drawings(look: AttentionOf, name: str, example: Example) -> str:
  # Slow to import, and not needed by a run until its end.
  from experiments.attention.figure import attention_figure

  maps = look(example)
  latents = chosen_latents(maps, None, _LATENTS)
  parts = []
  for modality in maps.modalities:
    pixels = attention_figure(name, maps, modality, latents)
    height, width = pixels.shape[:2]
    parts.append(
      f'<img alt="Attention, {html.escape(f"{name}: {modality}")}" '
      f'width="{width}" height="{height}" src="{picture_data(pixels)}">'
    )
  return ''.join(parts)
