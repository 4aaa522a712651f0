"""What is said to a request: of the run, of an input, and of its attention."""

import base64
import html
import mimetypes
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

from experiments.answers.answer import Answer
from experiments.attention.maps_of import AttentionOf
from experiments.attention.page import attention_page
from experiments.data.dataset import Example, Files
from experiments.host.helper import MEGABYTE
from experiments.modalities.senses import html_of
from experiments.pages.tables import Html
from experiments.runs.trained import TrainedRun
from experiments.serving.uploads import Limits, Unreadable

# Of a file of which nothing else is known.
_ANY_TYPE = 'application/octet-stream'


class Replies:
  """Makes what is sent back of a run's answers."""

  def __init__(self, run: TrainedRun):
    """Takes a run; compiles nothing yet.

    Args:
      run: whose answers they are.

    Raises:
      ValueError: it does not answer files or texts.
    """
    if run.task.data.files is None:
      raise ValueError(
        f'Files cannot be read for the data {run.config.data.name!r}, so there '
        'is nothing to serve.'
      )
    self._run = run
    self.files: Files = run.task.data.files
    try:
      self._look = AttentionOf(run)
    except ValueError:
      self._look = None

  def about(self, limits: Limits) -> dict[str, Any]:
    """Returns what the run is, and what it takes.

    Args:
      limits: of requests.
    """
    run = self._run
    return {
      'run': run.workdir.resolve().name,
      'step': run.step,
      'task': run.config.task,
      'data': run.config.data.name,
      'classes': list(run.task.data.class_names),
      'extensions': list(self.files.extensions),
      'files': self.files.count,
      'text': self.files.from_text is not None,
      'cells': [
        {
          'name': cell.name,
          'extensions': list(cell.extensions),
          'choices': list(cell.choices),
          'long': cell.is_long,
        }
        for cell in (self.files.form.cells if self.files.form else ())
      ],
      'attention': self._look is not None,
      'max_megabytes': limits.most_bytes / MEGABYTE,
    }

  def answer(
    self,
    name: str,
    predictions: Sequence[Any],
    examples: Sequence[Example],
    *,
    top: int,
    show: bool,
  ) -> dict[str, Any]:
    """Returns what the model says of an input, to be JSON.

    Args:
      name: of the input.
      predictions: of its examples, each without a batch axis.
      examples: that it came to.
      top: likeliest classes, or characters, to name.
      show: whether to add elements of a page and files.
    """
    kind = self._run.task.answer
    answer = self._run.task.tell(predictions, examples)
    reply = {
      'input': name,
      'step': self._run.step,
      'parts': len(examples),
      **kind.json(answer, top),
    }
    if show:
      reply['said'] = _said(kind, answer, top)
      reply['views'] = self._views(answer, examples)
      reply['files'] = _files_of(kind, answer)
    return reply

  def attention(
    self,
    name: str,
    predictions: Sequence[Any],
    examples: Sequence[Example],
    *,
    part: int,
  ) -> str:
    """Returns the page of what the latents look at.

    Args:
      name: of the input.
      predictions: of its examples, each without a batch axis.
      examples: that it came to.
      part: number of the example, where they are several.

    Raises:
      Unreadable: there is no such part, or the model has no latents.
    """
    if self._look is None:
      raise Unreadable('There is no attention of this run to be seen.')
    if not 0 <= part < len(examples):
      raise Unreadable(
        f'There is no part {part}: they are 0 to {len(examples) - 1}.'
      )
    maps = self._look(examples[part])
    answer = self._run.task.tell(
      predictions[part : part + 1], examples[part : part + 1]
    )
    title = name if len(examples) == 1 else f'{name}, part {part}'
    return attention_page(title, maps, note=self._run.task.answer.note(answer))

  def _views(
    self, answer: Any, examples: Sequence[Example]
  ) -> list[dict[str, str]]:
    """Elements of what the model was given, and of what it drew."""
    task = self._run.task
    drawn = task.answer.drawn(answer)
    if drawn:
      return [{'name': each.name, 'html': each.body} for each in drawn]
    if task.data.view is None:
      return []
    return [
      {'name': name, 'html': html_of(view)}
      for name, view in task.data.view(examples[0]).items()
    ]


def _said(kind: Answer, answer: Any, top: int) -> Html:
  """What is said in words, as elements of the page."""
  if kind.said is not None:
    return kind.said(answer, top)
  lines = '\n'.join(kind.lines(answer, top))
  return Html(f'<div class="said"><pre>{html.escape(lines)}</pre></div>')


def _files_of(kind: Answer, answer: Any) -> list[dict[str, str]]:
  """What an answer comes to as files, each with its bytes in base 64."""
  with tempfile.TemporaryDirectory(prefix='perceiver-answer-') as folder:
    return [
      {
        'name': path.name,
        'type': mimetypes.guess_type(path.name)[0] or _ANY_TYPE,
        'base64': base64.b64encode(path.read_bytes()).decode(),
      }
      for path in kind.write(answer, pathlib.Path(folder), 'answer')
    ]
