"""The motion from one frame to the next; the record of such answers."""

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.answers.answer import Answer, Panel, ViewOf
from experiments.data.dataset import Example
from experiments.modalities.frames.colours import flow_colours
from experiments.modalities.frames.drawing import draw_flow
from experiments.modalities.frames.files import format_flo
from experiments.modalities.frames.frames import pixels
from experiments.modalities.images.view import Image
from experiments.modalities.senses import html_of
from experiments.pages.pictures import write_picture
from experiments.pages.tables import Html


class Flow(NamedTuple):
  """The motion from one frame to the next.

  Attributes:
    frames: uint8 RGB `[2, H, W, 3]`.
    flow: float32 `[H, W, 2]`: how far each pixel of the first goes to the right
      and down, in pixels.
  """

  frames: np.ndarray
  flow: np.ndarray


def tell_flow(
  predictions: Sequence[np.ndarray], examples: Sequence[Example]
) -> Flow:
  """Returns the flow `[H, W, 2]` of the only example with its frames."""
  (flow,), (example,) = predictions, examples
  return Flow(pixels(example['frames']), flow)


def lines_of(answer: Flow, top: int) -> list[str]:
  """Returns a line on how fast all moves, and where to."""
  motion = json_of(answer, top)['motion']
  right, down = motion['mean']
  across, along = ('left', 'right')[right > 0], ('up', 'down')[down > 0]
  return [
    f'motion: {motion["median"]:.2f} pixels in the median, '
    f'{motion["fastest"]:.2f} at most; on average {abs(right):.2f} {across} '
    f'and {abs(down):.2f} {along}'
  ]


def json_of(answer: Flow, top: int) -> dict[str, Any]:
  """Returns speeds in pixels, and the mean motion to the right and down."""
  del top
  speed = np.linalg.norm(answer.flow, axis=-1)
  return {
    'motion': {
      'median': float(np.median(speed)),
      'fastest': float(speed.max()),
      'mean': answer.flow.mean(axis=(0, 1), dtype=np.float64).tolist(),
    }
  }


def panels_of(answer: Flow) -> list[Panel]:
  """Returns both frames, and the motion as colours."""
  first, second = answer.frames
  return [
    Panel('First frame', Html(html_of(Image(first)))),
    Panel('Second frame', Html(html_of(Image(second)))),
    motion_panel('Estimated motion', answer.flow),
  ]


def said_of(answer: Flow, top: int) -> Html:
  """Returns how fast all moves."""
  motion = json_of(answer, top)['motion']
  return Html(
    f'<p>Motion of {motion["median"]:.1f} pixels in the median, '
    f'{motion["fastest"]:.1f} at most.</p>'
  )


def full_panels(answer: Flow, example: Example, view: ViewOf) -> list[Panel]:
  """Returns both frames, the true motion and the estimate in like colours."""
  del view
  valid = example['valid'] > 0
  fastest = np.linalg.norm(example['flow'][valid], axis=-1).max(initial=1e-6)
  true = motion_panel(
    'True motion', example['flow'], max_motion=fastest, valid=valid
  )
  made = motion_panel('Estimated motion', answer.flow, max_motion=fastest)
  return [*panels_of(answer)[:-1], true, made]


def motion_panel(
  name: str,
  flow: np.ndarray,
  *,
  max_motion: float | None = None,
  valid: np.ndarray | None = None,
) -> Panel:
  """Returns flow as colours; see `flow_colours`.

  Args:
    name: of the panel.
    flow: `[H, W, 2]` in pixels.
    max_motion: of full colour, in pixels; None for the fastest that there is.
    valid: bool `[H, W]`, where flow is known; None for everywhere.
  """
  if max_motion is None:
    max_motion = float(np.linalg.norm(flow, axis=-1).max())
  colours = flow_colours(flow, max_motion=max(max_motion, 1e-6), valid=valid)
  return Panel(name, Html(html_of(Image(colours))))


def write(answer: Flow, folder: pathlib.Path, name: str) -> list[pathlib.Path]:
  """Writes the flow as a picture, as .flo and as .npz."""
  folder.mkdir(parents=True, exist_ok=True)
  picture, flo, arrays = (
    folder / f'{name}.{ending}' for ending in ('png', 'flo', 'npz')
  )
  write_picture(draw_flow(answer.frames, answer.flow), picture)
  flo.write_bytes(format_flo(answer.flow))
  np.savez_compressed(arrays, flow=answer.flow)
  return [picture, flo, arrays]


FLOW = Answer(
  purpose='optical flow',
  outputs='How far each pixel of the first frame goes to the right and down, '
  'in pixels. Frames must be of just this size; larger ones have to be cut '
  'into tiles that overlap.',
  lines=lines_of,
  json=json_of,
  panels=panels_of,
  lower=('loss', 'error', 'outliers'),
  said=said_of,
  write=write,
  drawn=panels_of,
  full=full_panels,
)
