"""Pictures of the flow that a trained model sees, beside the true flow.

  python -m experiments.flow_pictures --config=experiments/configs/flow.py:embedded

writes PNG files into `pictures/` of the run, of the best checkpoint: held-out
pairs, and a pair of photographs of a motorcycle from two places, made about as
small as the frames that the model was trained on. In each are the two frames,
the true and the estimated flow. Prints one JSON line: the end-point error of
each in pixels, and that of estimating no motion.
"""  # noqa: E501

import json
import pathlib
from collections.abc import Callable, Mapping

import jax
import numpy as np
from absl import flags

from experiments.data.dataset import Example
from experiments.datasets.flow.frame_pairs import flow_example
from experiments.datasets.flow.motorcycle import MOTORCYCLE_SHAPE, motorcycle
from experiments.host import command_line
from experiments.modalities.frames.colours import flow_colours
from experiments.modalities.frames.drawing import fastest, side_by_side
from experiments.modalities.frames.frames import pixels
from experiments.pages.pictures import write_picture
from experiments.runs.experiment import (
  Experiment,
  build_experiment,
  restore_run,
)

_PAIRS = flags.DEFINE_integer(
  'pairs', 8, 'Held-out pairs to make a picture of.', lower_bound=0
)


def draw(example: Example, estimate: np.ndarray) -> np.ndarray:
  """Returns frame 1, frame 2, true flow and estimate side by side.

  Both flows have the same colours: the fastest true motion is full colour.

  Args:
    example: see `frame_pairs.flow_example`.
    estimate: `[H, W, 2]` in pixels.

  Returns:
    uint8 `[h, 4 w, 3]`, small frames enlarged.
  """
  valid = example['valid'] > 0
  full = fastest(example['flow'][valid])
  return side_by_side(
    [
      *pixels(example['frames']),
      flow_colours(example['flow'], max_motion=full, valid=valid),
      flow_colours(estimate, max_motion=full),
    ]
  )


def errors(example: Example, estimate: np.ndarray) -> dict[str, float]:
  """Returns the end-point errors, in pixels, of an estimate and of no motion.

  Args:
    example: see `frame_pairs.flow_example`.
    estimate: `[H, W, 2]` in pixels.
  """
  valid = example['valid'] > 0
  return {
    name: float(np.linalg.norm(wrong[valid], axis=-1).mean())
    for name, wrong in (
      ('end_point_error', estimate - example['flow']),
      ('of_no_motion', example['flow']),
    )
  }


def examples_to_draw(
  experiment: Experiment, num_pairs: int
) -> dict[str, Example]:
  """Returns some held-out pairs, evenly spread, and the motorcycle."""
  dataset = experiment.dataset
  total = len(dataset.evaluation)
  chosen = np.linspace(0, total - 1, min(num_pairs, total)).astype(int)
  examples = {
    f'held_out_{index}': dataset.prepare(dataset.evaluation[int(index)])
    for index in chosen
  }
  tile_shape = experiment.task.data.example['frames'].shape[1:3]
  reduction = min(
    whole // tile
    for whole, tile in zip(MOTORCYCLE_SHAPE, tile_shape, strict=True)
  )
  if reduction:
    examples['motorcycle'] = flow_example(motorcycle(reduction))
  return examples


def write_pictures(
  predict: Callable[[jax.Array], jax.Array],
  examples: Mapping[str, Example],
  folder: pathlib.Path,
) -> dict[str, dict[str, float]]:
  """Writes a picture of each example; returns their end-point errors.

  Args:
    predict: maps frames `[1, 2, H, W, 3]` to flow `[1, H, W, 2]`.
    examples: by the names of the pictures.
    folder: to write to; made if need be.
  """
  folder.mkdir(parents=True, exist_ok=True)
  results = {}
  for name, example in examples.items():
    estimate = np.asarray(predict(example['frames'][None]))[0]
    write_picture(draw(example, estimate), folder / f'{name}.png')
    results[name] = errors(example, estimate)
  return results


def main() -> None:
  """Draws what the best checkpoint estimates."""
  config = command_line.config()
  if config.task != 'optical_flow':
    raise ValueError(
      f'config.task is {config.task!r}; only optical_flow has such pictures.'
    )
  experiment = build_experiment(config, command_line.data_dir())
  workdir = command_line.workdir()
  step, train_state = restore_run(config, workdir, experiment.template, 'best')

  @jax.jit
  def predict(frames: jax.Array) -> jax.Array:
    flow, _ = experiment.task.model.apply(
      train_state.params,
      train_state.state,
      None,
      {'frames': frames},
      is_training=False,
    )
    return flow

  folder = workdir / 'pictures'
  results = write_pictures(
    predict, examples_to_draw(experiment, _PAIRS.value), folder
  )
  print(json.dumps({'step': step, 'pictures': str(folder), **results}))


if __name__ == '__main__':
  command_line.run(main)
