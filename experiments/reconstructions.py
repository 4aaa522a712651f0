"""What a trained autoencoder makes of clips: a picture, and numbers.

  python -m experiments.reconstructions --config=experiments/configs/bunny.py

writes `reconstructions.png` into the run's folder, of the best checkpoint: for
some held-out clips the frames, the frames that the model makes of them, the
sound and the sound that it makes. Prints one JSON line: peak signal-to-noise
ratios in decibels (see `tasks/autoencoding.py`) on held-out and on training
clips, at most 256 of each, evenly spread.
"""

import json
from typing import Any

import jax
import numpy as np
from absl import flags

from experiments.data.dataset import Example, Source
from experiments.host import command_line
from experiments.host.compilation_cache import start_keeping
from experiments.modalities.video.drawing import draw_clip
from experiments.pages.pictures import write_picture
from experiments.runs.evaluation import Evaluation
from experiments.runs.experiment import (
  Experiment,
  build_experiment,
  restore_run,
)
from experiments.stepping.parallelism import configure_backend

_CLIPS = flags.DEFINE_integer(
  'clips', 4, 'Held-out clips in the picture.', lower_bound=1
)
_MOST_CLIPS = 256
_PICTURE = 'reconstructions.png'
_GAP = 8


class Spread:
  """Some examples of a source, evenly spread over it.

  Args:
    source: of the examples.
    most: examples to keep; all where there are fewer.
  """

  def __init__(self, source: Source, most: int):
    self._source = source
    count = min(most, len(source))
    self._indices = np.linspace(0, len(source) - 1, count).round().astype(int)

  def __len__(self) -> int:
    return len(self._indices)

  def __getitem__(self, index: int) -> Example:
    return self._source[int(self._indices[index])]


def psnr_of(
  experiment: Experiment, state: Any, batch_size: int
) -> dict[str, dict[str, float]]:
  """Returns the metrics of held-out and of training clips.

  Training clips are made like held-out ones, without random changes.

  Args:
    experiment: of the model.
    state: with its parameters, on the devices.
    batch_size: global, divisible by the devices.
  """
  dataset, results = experiment.dataset, {}
  for name, source in (
    ('held_out', dataset.evaluation),
    ('train', dataset.train),
  ):
    clips = Spread(source, _MOST_CLIPS)
    evaluate = Evaluation(
      experiment._replace(dataset=dataset._replace(evaluation=clips)),
      batch_size,
    )
    metrics = evaluate(state)
    results[name] = {'clips': len(clips)} | {
      key.removeprefix('eval/'): round(value, 4)
      for key, value in metrics.items()
    }
  return results


def draw(experiment: Experiment, state: Any, num_clips: int) -> np.ndarray:
  """Returns the picture of some held-out clips, one above the other."""
  clips = Spread(experiment.dataset.evaluation, num_clips)

  @jax.jit
  def reconstruct(batch: Example) -> dict[str, jax.Array]:
    model = experiment.task.model
    return model.apply(
      state.params, state.state, None, batch, is_training=False
    )[0]

  pictures = []
  for i in range(len(clips)):
    example = experiment.dataset.prepare(clips[i])
    made = reconstruct(jax.tree.map(lambda x: np.asarray(x)[None], example))
    answer = experiment.task.tell(
      [{name: np.asarray(x)[0] for name, x in made.items()}], [example]
    )
    picture = draw_clip(answer.original, answer.reconstruction)
    pictures.append(np.pad(picture, ((0, _GAP), (0, 0), (0, 0))))
  return np.concatenate(pictures)[:-_GAP]


def main() -> None:
  """Reconstructs with the best checkpoint."""
  configure_backend()
  start_keeping()
  config = command_line.config()
  if config.task != 'autoencoding':
    raise ValueError(
      f'config.task is {config.task!r}; only autoencoding reconstructs.'
    )
  experiment = build_experiment(config, command_line.data_dir())
  workdir = command_line.workdir()
  step, state = restore_run(config, workdir, experiment.template, 'best')
  state = experiment.parallelism.place_state(state)
  path = workdir / _PICTURE
  write_picture(draw(experiment, state, _CLIPS.value), path)
  results = psnr_of(experiment, state, config.batch_size)
  print(json.dumps({'step': step, **results, 'picture': str(path)}))


if __name__ == '__main__':
  command_line.run(main)
