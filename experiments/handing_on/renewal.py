"""The function of an export, written anew from the weights beside it.

For when the jax that is there no longer opens the one that an older jax wrote:
see `window`. Nothing else of the folder changes but what its model card says of
the function.
"""

import pathlib
import tempfile
from collections.abc import Sequence

from experiments.data.dataset import batch_spec
from experiments.handing_on.exporting import (
  CARD,
  WEIGHTS,
  export_model,
  exported_platforms,
  write_function,
)
from experiments.handing_on.model_card import renewed_card
from experiments.handing_on.weights import read_weights
from experiments.host.configuration import read_config
from experiments.runs.experiment import bind
from experiments.stepping.train_state import init_shapes


def renew(folder: pathlib.Path, platforms: Sequence[str] | None) -> None:
  """Writes the function of an exported folder anew.

  Args:
    folder: that was exported, by whatever jax.
    platforms: that the model is to run on; None for those of before.

  Raises:
    ValueError: the weights are not beside it, or not of its config.
    OSError: it is none, or it cannot be read or written.
  """
  config = read_config(folder)
  weights = folder / WEIGHTS
  if not weights.is_file():
    raise ValueError(
      f'{folder} has no {WEIGHTS}: a function with the weights inside cannot '
      'be written anew. Export its run again.'
    )
  task = bind(config, None).task
  shapes = init_shapes(task.model, batch_spec(task.data.example, 1))
  params, state = read_weights(weights, *shapes)
  exported = export_model(
    task,
    params,
    state,
    platforms=platforms or exported_platforms(folder),
    weights_inside=False,
  )
  card = (folder / CARD).read_text(encoding='utf-8')
  # Each file is whole, the old or the new one, whatever happens.
  with tempfile.TemporaryDirectory(dir=folder) as unfinished:
    new = pathlib.Path(unfinished)
    write_function(new, exported)
    (new / CARD).write_text(
      renewed_card(card, exported, config), encoding='utf-8'
    )
    for path in sorted(new.iterdir()):
      path.replace(folder / path.name)
