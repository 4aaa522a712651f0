"""Reconstructions as lines and on pages; the record of such answers."""

from typing import Any

from experiments.answers.answer import Answer, Panel, ViewOf
from experiments.answers.classes import record as of_classes
from experiments.answers.reconstruction.files import write
from experiments.answers.reconstruction.value import Reconstruction
from experiments.data.dataset import Example
from experiments.modalities.senses import html_of
from experiments.pages.tables import Html


def lines_of(answer: Reconstruction, top: int) -> list[str]:
  """Returns a line of each modality, and those of the classes."""
  lines = [
    f'{name}: {ratio:.1f} dB of the original'
    for name, ratio in answer.decibels.items()
  ]
  classes = answer.classes
  return lines + (of_classes.lines_of(classes, top) if classes else [])


def json_of(answer: Reconstruction, top: int) -> dict[str, Any]:
  """Returns decibels by modality, and the classes."""
  classes = answer.classes
  return {
    'decibels': dict(answer.decibels),
    **(of_classes.json_of(classes, top) if classes else {}),
  }


def drawn(answer: Reconstruction) -> list[Panel]:
  """Returns the original and the reconstruction of each modality."""
  panels = []
  for name, original in answer.original.items():
    title = name.capitalize()
    panels.append(Panel(f'{title}: original', Html(html_of(original))))
    if name in answer.reconstruction:
      decibels = answer.decibels.get(name)
      told = '' if decibels is None else f', {decibels:.1f} dB'
      made = Html(html_of(answer.reconstruction[name]))
      panels.append(Panel(f'{title}: reconstruction{told}', made))
  return panels


def panels_of(answer: Reconstruction) -> list[Panel]:
  """Returns what is drawn, and the classes."""
  classes = answer.classes
  return drawn(answer) + (of_classes.panels_of(classes) if classes else [])


def said_of(answer: Reconstruction, top: int) -> Html:
  """Returns the classes alone: the rest is drawn."""
  classes = answer.classes
  return of_classes.said_of(classes, top) if classes else Html('')


def full_panels(
  answer: Reconstruction, example: Example, view: ViewOf
) -> list[Panel]:
  """Returns the panels of the answer, which has the inputs, too."""
  del example, view
  return panels_of(answer)


RECONSTRUCTION = Answer(
  purpose='reconstruction',
  outputs='What was put in as the model makes it again, in the same units; of '
  'a label, logits.',
  lines=lines_of,
  json=json_of,
  panels=panels_of,
  lower=('loss', 'l1'),
  higher=('accuracy', 'psnr', 'gain'),
  said=said_of,
  write=write,
  drawn=drawn,
  full=full_panels,
)
