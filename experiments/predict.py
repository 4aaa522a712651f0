"""Says what a trained model makes of files.

  python -m experiments.predict --workdir=runs/digits seven.png eight.jpg
  python -m experiments.predict --workdir=runs/declaration-mlm \
    --text='All human be[MASK]gs are born free'
  python -m experiments.predict --workdir=runs/flow-embedded first.png second.png
  python -m experiments.predict --workdir=runs/patients new.csv --save_to=out.csv

prints the likeliest classes of each file. A masked language model fills in
`[MASK]`, one for each byte; two texts are compared as 'FIRST [SEP] SECOND'. Of
optical flow, each two files are one input: the flow is written as a picture, as
.flo and as .npz. Of films, the first 20 seconds are reconstructed: NAME.mp4
shows them beside the original, with the sound that the model makes;
NAME_original.mp4 is what it was given. Of a table, each row is answered, whatever
it lacks, and the answers are a table, too. All are written into `predictions/` of
the run. With --untrusted, files are read in a helper process with limits. Ends
with exit code 1 where a file could not be read; the others are answered all the
same.
"""  # noqa: E501

import itertools
import json
import os
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags

from experiments.answers.answer import Answer
from experiments.host import command_line, output
from experiments.host.buckets import written_here
from experiments.host.compilation_cache import start_keeping
from experiments.runs import chosen_run, untrusted
from experiments.runs.trained import TrainedRun
from experiments.stepping.parallelism import configure_backend

_TOP = flags.DEFINE_integer(
  'top', 5, 'Likeliest classes, or characters, to name.', lower_bound=1
)
_TEXT = flags.DEFINE_multi_string(
  'text', [], 'A text in place of a file; may be given several times.'
)


def group(run: TrainedRun, files: Sequence[str]) -> list[tuple[str, ...]]:
  """Returns the files of each input.

  Raises:
    ValueError: files are left over.
  """
  count = run.task.data.files.count if run.task.data.files else 1
  if len(files) % count:
    raise ValueError(
      f'Each input of this run is {count} files, and {len(files)} were given.'
    )
  return [tuple(files[i : i + count]) for i in range(0, len(files), count)]


def answers(
  run: TrainedRun, files: Sequence[str], texts: Sequence[str]
) -> Iterator[tuple[tuple[str, ...], Any | ValueError | OSError]]:
  """Yields the files or the text of each input, and what the run says."""
  inputs = group(run, files)
  yield from zip(inputs, run.predict_many(inputs), strict=True)
  for text in texts:
    try:
      answer = run.predict_text(text)
    except UnicodeEncodeError:
      answer = ValueError(f'{text!r} is no UTF-8.')
    except ValueError as error:
      answer = ValueError(f'{text!r}: {error}')
    yield (text,), answer


def name_of(files: Sequence[str], taken: set[str]) -> str:
  """Returns a name for what is written of an input, and takes it.

  Args:
    files: of the input.
    taken: names of others, which may be of files in other folders.
  """
  first = '-'.join(pathlib.Path(file).stem for file in files)
  names = itertools.chain([first], (f'{first}-{i}' for i in itertools.count(2)))
  name = next(each for each in names if each not in taken)
  taken.add(name)
  return name


def place_of(run: TrainedRun, inputs: Sequence[str]) -> tuple[Any, str]:
  """Returns the folder to write into, and what to call the files of an input.

  Args:
    run: that answers.
    inputs: files and texts.

  Returns:
    '' for names as the inputs have.

  Raises:
    ValueError: --save_to names a table, and there is not just one.
  """
  place = chosen_run.save_to('predictions')
  if place.suffix.lower() != '.csv':
    return place, ''
  if run.task.columns is None or len(inputs) != 1:
    raise ValueError(
      f'--save_to={place} names a table, and those of a single table are '
      f'written into one; got {len(inputs)} input(s) of the task '
      f'{run.config.task!r}. Name a folder.'
    )
  return place.parent, place.stem


def main() -> None:
  """Answers each file."""
  configure_backend()
  start_keeping()
  files = command_line.files()
  # As the shell gave them: in some locales Python knows ASCII alone.
  texts = [
    os.fsencode(x).decode('utf-8', 'surrogateescape') for x in _TEXT.value
  ]
  if not files and not texts:
    raise ValueError('Name files to look at, or give a --text.')
  run = chosen_run.load()
  kind = run.task.answer
  folder, stem = place_of(run, [*files, *texts])
  results, taken, failed = [], set(), False
  with untrusted.reading(), written_here(folder) as here:
    for parts, answer in answers(run, files, texts):
      name = ' '.join(parts)
      if isinstance(answer, Exception):
        failed = True
        results.append({'input': name, 'error': str(answer)})
        if not output.as_json():
          print(f'Error: {answer}', file=sys.stderr)
        continue
      written = [
        str(folder / path.relative_to(here))
        for path in kind.write(answer, here, stem or name_of(parts, taken))
      ]
      results.append(_result(name, kind, answer, written))
      if not output.as_json():
        lines = [*kind.lines(answer, _TOP.value), *(f'-> {p}' for p in written)]
        print('\n  '.join([name, *lines]), flush=True)
  if output.as_json():
    print(json.dumps({'step': run.step, 'results': results}))
  if failed:
    sys.exit(1)


def _result(
  name: str, kind: Answer, answer: Any, written: Sequence[str]
) -> dict[str, Any]:
  return {
    'input': name,
    **kind.json(answer, _TOP.value),
    **({'files': list(written)} if written else {}),
  }


if __name__ == '__main__':
  command_line.run(main, takes_files=True)
