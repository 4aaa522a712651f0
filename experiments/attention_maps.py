"""Shows what the latents of a trained model look at in a file.

  python -m experiments.attention_maps --workdir=runs/digits seven.png
  python -m experiments.attention_maps --workdir=runs/digits --example=3
  python -m experiments.attention_maps --workdir=runs/bunny --latents=0,5,7

writes into `attention_maps/NAME/` of the run: `attention.html`, a page that
needs no network, where one moves over the input and sees which latents look
there, and picks a latent to see where it looks at each cross-attend; and a
picture of each modality, after figure 3 of the Perceiver paper. Without a file,
of a held-out example. Prints how spread out attention is: entropy, as a part of
that of looking at everything alike; coverage, the smallest part of the input
that has 90 % of the attention; with --json of every latent.
"""

import pathlib
from typing import Any

from absl import flags

from experiments.attention.figure import attention_figure
from experiments.attention.maps import AttentionMaps, chosen_latents
from experiments.attention.maps_of import AttentionOf
from experiments.attention.page import attention_page
from experiments.data.dataset import Example
from experiments.host import command_line, output
from experiments.host.buckets import write_whole
from experiments.host.compilation_cache import start_keeping
from experiments.pages.pictures import write_picture
from experiments.runs import chosen_run
from experiments.runs.trained import TrainedRun
from experiments.stepping.parallelism import configure_backend

_EXAMPLE = flags.DEFINE_integer(
  'example',
  0,
  'Without a file: number of the held-out example. With one that is longer '
  'than an input of the model: number of its part.',
  lower_bound=0,
)
_LATENTS = flags.DEFINE_list(
  'latents',
  None,
  'Numbers of latents, such as 0,5,7. Default: the most different, 8 in the '
  'pictures and 64 on the page.',
)
_PAGE = 'attention.html'
_MOST_IN_PICTURES = 8


def choose_example(
  run: TrainedRun, files: tuple[str, ...], number: int
) -> tuple[str, Example]:
  """Returns an example of files, or a held-out one, and a name for it.

  Args:
    run: that is to look at it.
    files: of one input; () for held-out examples.
    number: of the held-out example, or of the part of the files.

  Raises:
    ValueError: there is no such example, or a file cannot be read.
    OSError: a file or the data set is not there.
  """
  if files:
    examples = run.read(*files)
    name = '-'.join(pathlib.Path(file).stem for file in files)
    if len(examples) > 1:
      name = f'{name}_{number}'
  else:
    dataset = run.task.data.load()
    examples, name = dataset.evaluation, f'example_{number}'
  if number >= len(examples):
    raise ValueError(
      f'There is no example {number}: they are 0 to {len(examples) - 1}.'
    )
  example = examples[number]
  return name, example if files else dataset.prepare(example)


def write_maps(
  title: str,
  note: str,
  maps: AttentionMaps,
  latents: list[int] | None,
  folder: pathlib.Path,
) -> list[pathlib.Path]:
  """Writes the page, and a picture of each modality.

  Args:
    title: of both.
    note: what else is to be said of the input.
    maps: what the latents look at.
    latents: numbers of those to show; None for the most different.
    folder: to write to; made if need be.

  Returns:
    The files.

  Raises:
    ValueError: there are no such latents.
  """
  folder.mkdir(parents=True, exist_ok=True)
  page = folder / _PAGE
  write_whole(page, attention_page(title, maps, note=note, latents=latents))
  paths, drawn = [page], chosen_latents(maps, latents, _MOST_IN_PICTURES)
  for modality in maps.modalities:
    path = folder / f'{modality}.png'
    write_picture(attention_figure(title, maps, modality, drawn), path)
    paths.append(path)
  return paths


def numbers_of(maps: AttentionMaps) -> dict[str, Any]:
  """Returns entropy, coverage and shares of every latent, as plain lists."""
  shares = {name: x.tolist() for name, x in maps.shares.items()}
  return {
    'num_inputs': maps.num_inputs,
    'most_entropy': maps.most_entropy,
    'entropy': maps.entropy.tolist(),
    'coverage': maps.coverage.tolist(),
    'entropy_together': maps.entropy_together.tolist(),
    'coverage_together': maps.coverage_together.tolist(),
    **({'shares': shares} if len(shares) > 1 else {}),
  }


def main() -> None:
  """Looks with the chosen checkpoint."""
  configure_backend()
  start_keeping()
  run = chosen_run.load()
  look = AttentionOf(run)
  latents = _numbers(_LATENTS.value, look.num_latents)
  name, example = choose_example(run, command_line.files(), _EXAMPLE.value)
  maps = look(example)
  folder = chosen_run.save_to(f'attention_maps/{name}')
  title = f'{run.workdir.name}: {name.replace("_", " ")}'
  note = run.task.answer.note(run.answer([example]))
  paths = write_maps(title, note, maps, latents, folder)
  output.print_result(
    {
      'step': run.step,
      'files': [str(path) for path in paths],
      **numbers_of(maps),
    },
    _render,
  )


def _numbers(texts: list[str] | None, num_latents: int) -> list[int] | None:
  if texts is None:
    return None
  try:
    latents = [int(text) for text in texts]
    if latents and all(0 <= i < num_latents for i in latents):
      return latents
  except ValueError:
    pass
  raise ValueError(
    f'--latents must be numbers from 0 to {num_latents - 1}, such as 0,5,7; '
    f'got {",".join(texts)!r}.'
  )


def _render(result: dict[str, Any]) -> str:
  lines = [
    f'{result["num_inputs"]:,} inputs; of single latents the lowest, the mean '
    'and the highest, and of all together:'
  ]
  for depth in range(len(result['entropy'])):
    parts = []
    for name, most in (('entropy', result['most_entropy']), ('coverage', 1.0)):
      values = [x / most for x in result[name][depth]]
      mean, together = (
        sum(values) / len(values),
        result[f'{name}_together'][depth] / most,
      )
      parts.append(
        f'{name} {min(values):.1%}, {mean:.1%}, {max(values):.1%} and '
        f'{together:.1%}'
      )
    lines.append(f'cross-attend {depth + 1}: {"; ".join(parts)}')
  return '\n'.join([*lines, *(f'Written: {x}' for x in result['files'])])


if __name__ == '__main__':
  command_line.run(main, takes_files=True)
