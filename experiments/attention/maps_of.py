"""What the latents of a trained run look at in an example."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from experiments.attention.maps import (
  AttentionMaps,
  coverage,
  entropy,
  summed,
)
from experiments.data.dataset import Example
from experiments.data.modality import Attended, Cells, View
from experiments.modalities.senses import sense_of
from experiments.runs.trained import TrainedRun
from perceiver_jax.attention_weights import ONLY, Lookups, with_lookups

# Latents whose weights over all inputs are held at a time.
_LATENTS_AT_ONCE = 64


class AttentionOf:
  """Maps of what the latents of a run look at.

  Compiled once for each shape of an example.

  Attributes:
    num_latents: N of the run's model.
  """

  def __init__(self, run: TrainedRun):
    """Takes a run; compiles nothing yet.

    Args:
      run: of a Perceiver.

    Raises:
      ValueError: its model is another, or its inputs cannot be seen.
    """
    if 'encoder' not in run.config:
      raise ValueError(
        f'The model of the run in {run.workdir} has no latents that look at '
        'its input: it is no Perceiver.'
      )
    if run.task.data.view is None:
      raise ValueError(
        f'There is no view of the data {run.config.data.name!r}.'
      )
    self._run = run
    self.num_latents: int = run.config.encoder.num_latents
    look = with_lookups(run.task.model.apply)

    @jax.jit
    def lookups(params: Any, state: Any, batch: Example) -> Lookups:
      return look(params, state, None, batch, is_training=False)[1]

    self._lookups = lookups
    self._weights = jax.jit(_weights, static_argnums=1)

  def __call__(self, example: Example) -> AttentionMaps:
    """Returns the maps of an example.

    Args:
      example: as held-out ones are, without a batch axis. Frames of optical
        flow that are larger than the model's are cropped to their centre.

    Raises:
      ValueError: they are smaller.
    """
    example = self._cropped(example)
    batch = jax.tree.map(lambda x: np.asarray(x)[None], dict(example))
    lookups = self._lookups(self._run.params, self._run.state, batch)
    views = _views_by_layout(self._run.task.data.view(example), lookups)
    part = self._run.task.data.part or (lambda example, _: example)
    collector = _Collector(
      lookups,
      views,
      {key: part(example, name) for key, (name, _) in views.items()},
    )
    for depth in range(len(lookups.queries)):
      for start in range(0, lookups.num_latents, _LATENTS_AT_ONCE):
        end = min(start + _LATENTS_AT_ONCE, lookups.num_latents)
        flat, maps = self._weights(lookups, depth, np.arange(start, end))
        collector.add(depth, start, np.asarray(flat), maps)
    return collector.maps()

  def _cropped(self, example: Example) -> Example:
    """Cuts the centre of frames that a model would take tile by tile."""
    if 'frames' not in example:
      return example
    wanted = self._run.task.data.example['frames'].shape[1:3]
    frames = example['frames']
    if frames.shape[1] < wanted[0] or frames.shape[2] < wanted[1]:
      raise ValueError(
        f'Frames must be at least {wanted[0]} x {wanted[1]} pixels, which this '
        f'model takes; got {frames.shape[1]} x {frames.shape[2]}.'
      )
    for axis, size in enumerate(wanted, start=1):
      start = (frames.shape[axis] - size) // 2
      frames = frames.take(range(start, start + size), axis=axis)
    return {**example, 'frames': frames}


def _weights(
  lookups: Lookups, depth: int, latents: jax.Array
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Weights `[n, M]`, the mean over heads, and the same in their places."""
  weights = lookups.weights(depth, latents)[0].mean(axis=0)
  return weights, lookups.by_modality(weights)


def _views_by_layout(
  views: Mapping[str, View], lookups: Lookups
) -> dict[str, tuple[str, View]]:
  """Returns name and view of the modalities of a model that can be seen."""
  if list(lookups.layouts) == [ONLY]:
    name, view = next(iter(views.items()))
    return {ONLY: (name, view)}
  return {
    name: (name, views[name]) for name in lookups.layouts if name in views
  }


class _Collector:
  """Gathers maps while weights of a few latents after the other come in."""

  def __init__(
    self,
    lookups: Lookups,
    views: Mapping[str, tuple[str, View]],
    examples: Mapping[str, Example],
  ):
    self._lookups, self._views = lookups, views
    self._counts = _counts(lookups)
    self._num_inputs = sum(self._counts.values())
    if not self._num_inputs:
      raise ValueError('The example has no inputs that latents could look at.')
    self._shape = len(lookups.queries), lookups.num_latents
    self._entropy, self._coverage = np.zeros(self._shape), np.zeros(self._shape)
    self._total = np.zeros((self._shape[0], lookups.num_inputs))
    self._shares = {
      name: np.zeros(self._shape, np.float32) for name in lookups.layouts
    }
    self._cells: dict[str, Cells] = {
      name: sense_of(view).attention.cells(
        lookups.layouts[name].grid_shape, examples[name], self._counts[name]
      )
      for name, (_, view) in views.items()
    }
    self._weights = {
      name: np.zeros((*self._shape, *map(len, cells.starts)), np.float32)
      for name, cells in self._cells.items()
    }

  def add(
    self,
    depth: int,
    start: int,
    flat: np.ndarray,
    maps: Mapping[str, jax.Array],
  ) -> None:
    """Takes weights `[n, M]`, and the same by modality, of some latents."""
    rows = depth, slice(start, start + len(flat))
    self._entropy[rows] = entropy(flat)
    self._coverage[rows] = coverage(flat, self._num_inputs)
    self._total[depth] += flat.sum(axis=0)
    for name, weights in maps.items():
      weights = np.asarray(weights)
      self._shares[name][rows] = weights.reshape(len(flat), -1).sum(axis=1)
      if name in self._cells:
        grid_shape, starts, _ = self._cells[name]
        weights = weights.reshape(len(flat), *grid_shape)
        self._weights[name][rows] = summed(weights, starts)

  def maps(self) -> AttentionMaps:
    """Returns what was gathered."""
    names = {key: name for key, (name, _) in self._views.items()}
    together = self._total / self._shape[1]
    return AttentionMaps(
      modalities={names[key]: self._attended(key) for key in self._cells},
      shares={names.get(key, key): x for key, x in self._shares.items()},
      entropy=self._entropy,
      coverage=self._coverage,
      entropy_together=entropy(together),
      coverage_together=coverage(together, self._num_inputs),
      num_inputs=self._num_inputs,
    )

  def _attended(self, key: str) -> Attended:
    layout = self._lookups.layouts[key]
    values = layout.values
    return Attended(
      view=self._views[key][1],
      weights=self._weights[key],
      num_inputs=self._counts[key],
      values=None if values is None else np.asarray(values[0]),
      labels=self._cells[key].labels,
    )


def _counts(lookups: Lookups) -> dict[str, int]:
  """Returns the elements of each modality, without padding."""
  counts, start = {}, 0
  for name, layout in lookups.layouts.items():
    size = layout.num_elements
    counts[name] = size
    if lookups.mask is not None:
      mask = np.asarray(lookups.mask[0, start : start + size])
      counts[name] = int(mask.sum())
    start += size
  return counts
