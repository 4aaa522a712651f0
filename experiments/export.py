"""Hands a trained model on: a folder that runs with jax alone.

  python -m experiments.export --workdir=runs/digits
  python -m experiments.export --workdir=runs/digits --weights=inside \\
    --save_to=digits-for-you
  python digits-for-you/load.py inputs.npz outputs.npz

writes, into `export` in the run's folder or --save_to, the function
`model.jaxexport` (`jax.export`: batches of any size), `weights.safetensors`,
the config, README.md, a model card that says what goes in and comes out, and
load.py, which runs it without this package. What lies beside the function can
become a run again, see `experiments.import_weights`.

A function is promised to open with releases of jax that are up to six months
newer; README.md and export.json in the folder say until when. After that

  python -m experiments.export --renew=digits-for-you

writes it anew with the jax that is there, from the weights beside it; no run is
needed.
"""

import contextlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Sequence

from absl import flags

from experiments.handing_on.exporting import (
  CARD,
  MODEL,
  ORIGIN,
  PLATFORMS,
  WEIGHTS,
  check_platforms,
  export_model,
  write_function,
)
from experiments.handing_on.model_card import model_card
from experiments.handing_on.renewal import renew
from experiments.handing_on.weights import write_weights
from experiments.host import addresses, command_line, output
from experiments.host.buckets import BucketPath, is_in_bucket, written_here
from experiments.host.compilation_cache import start_keeping
from experiments.host.configuration import write_config
from experiments.runs import chosen_run
from experiments.runs.trained import TrainedRun
from experiments.stepping.parallelism import configure_backend

_PLATFORMS = flags.DEFINE_list(
  'platforms',
  ['cpu', 'cuda', 'tpu'],
  f'What the exported model can run on, of {", ".join(PLATFORMS)}.',
)
_WEIGHTS = flags.DEFINE_enum(
  'weights',
  'beside',
  ['beside', 'inside'],
  'Whether weights are a file of their own or part of the exported function.',
)
_RENEW = flags.DEFINE_string(
  'renew',
  None,
  'Folder that was exported, whose function is written anew.',
)
# What is of a run, which a folder that is written anew has no need of.
_OF_A_RUN = ('workdir', 'config', 'checkpoint', 'save_to', 'weights')


def write_export(
  run: TrainedRun,
  folder: pathlib.Path,
  *,
  platforms: Sequence[str],
  weights_inside: bool,
) -> None:
  """Writes everything that is handed on.

  Args:
    run: to export.
    folder: to write to; it is there.
    platforms: that the model is to run on.
    weights_inside: whether the weights are part of the function.

  Raises:
    OSError: the folder cannot be written.
  """
  files = {
    MODEL: 'the function, serialised by `jax.export`',
    'load.py': 'loads and runs it',
    ORIGIN: 'by which jax the function was written, and which ones open it',
    'config.json': 'what was trained, and how',
  }
  exported = export_model(
    run.task,
    run.params,
    run.state,
    platforms=platforms,
    weights_inside=weights_inside,
  )
  write_function(folder, exported)
  if weights_inside:
    files[MODEL] += ', with the weights'
  else:
    files[WEIGHTS] = 'parameters and state, the first argument of the function'
    write_weights(folder / WEIGHTS, run.params, run.state, run.step)
  if names := run.task.data.class_names:
    files['classes.txt'] = 'names of the classes, in the order of their logits'
    (folder / 'classes.txt').write_text(
      '\n'.join(names) + '\n', encoding='utf-8'
    )
  write_config(run.config, folder)
  card = model_card(run, exported, files, weights_inside=weights_inside)
  (folder / CARD).write_text(card, encoding='utf-8')


@contextlib.contextmanager
def new_folder(folder: pathlib.Path | BucketPath) -> Iterator[pathlib.Path]:
  """Makes a folder that is there, whole, when all went well, or not at all.

  In a bucket it comes to be file by file, once all are written here.

  Args:
    folder: to make; an empty one is taken.

  Yields:
    The folder to write to; it gets its name at the end.

  Raises:
    ValueError: there is something already.
    OSError: it cannot be made.
  """
  if folder.is_dir() and any(folder.iterdir()):
    raise ValueError(
      f'{folder} is not empty, and nothing in it is overwritten. Remove it, or '
      'choose another place by --save_to.'
    )
  if folder.exists() and not folder.is_dir():
    raise ValueError(f'{folder} is a file. Choose another --save_to.')
  if is_in_bucket(folder):
    with written_here(folder) as here:
      yield here
    return
  unfinished = folder.with_name(f'{folder.name}.unfinished-{os.getpid()}')
  unfinished.mkdir(parents=True)
  try:
    yield unfinished
    unfinished.replace(folder)
  except BaseException:
    shutil.rmtree(unfinished, ignore_errors=True)
    raise


def main() -> None:
  """Exports the run."""
  configure_backend()
  start_keeping()
  check_platforms(_PLATFORMS.value)
  if _RENEW.value:
    _renew(
      addresses.local(
        _RENEW.value, '--renew', 'files are replaced there in one step'
      )
    )
  else:
    _export()


def _renew(folder: pathlib.Path) -> None:
  given = [f'--{name}' for name in _OF_A_RUN if flags.FLAGS[name].present]
  if given:
    raise ValueError(
      f'--renew takes all from the folder itself: leave out {", ".join(given)}.'
    )
  renew(folder, _PLATFORMS.value if flags.FLAGS['platforms'].present else None)
  result = {
    'folder': str(folder),
    **json.loads((folder / ORIGIN).read_text(encoding='utf-8')),
  }
  output.print_result(result, _render_renewed)


def _export() -> None:
  run = chosen_run.load()
  folder = chosen_run.save_to('export')
  with new_folder(folder) as unfinished:
    write_export(
      run,
      unfinished,
      platforms=_PLATFORMS.value,
      weights_inside=_WEIGHTS.value == 'inside',
    )
    sizes = {path.name: path.stat().st_size for path in unfinished.iterdir()}
  result = {'step': run.step, 'folder': str(folder), 'files': sizes}
  output.print_result(result, _render)


def _render_renewed(result: dict) -> str:
  return (
    f'{result["folder"]}/{MODEL} is written anew by jax {result["jax"]}, for '
    f'{", ".join(result["platforms"])}: releases of jax from '
    f'{result["opens_from"]} to {result["opens_until"]} open it.'
  )


def _render(result: dict) -> str:
  files = sorted(result['files'].items())
  return '\n'.join(
    [
      f'Step {result["step"]:,}, written to {result["folder"]}:',
      *(f'  {name:20} {size:>12,} bytes' for name, size in files),
      _how_to_run(result['folder']),
    ]
  )


def _how_to_run(folder: str) -> str:
  how = f'Run it: python {folder}/load.py inputs.npz outputs.npz'
  if addresses.is_address(folder):
    how = 'Copied to a disk, it runs by: python load.py inputs.npz outputs.npz'
  return f'{how} (README.md says what goes in)'


if __name__ == '__main__':
  command_line.run(main)
