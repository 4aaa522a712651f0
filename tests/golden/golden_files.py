"""What both generators share: random weights, writing and checking files.

Needs NumPy alone: the generators run in environments that share nothing else.
"""

import argparse
import json
import math
import pathlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

HERE = pathlib.Path(__file__).parent
TOLERANCE = 1e-6

Golden = dict[str, np.ndarray]


def normal(
  rng: np.random.Generator,
  shape: Sequence[int],
  mean: float = 0.0,
  stddev: float = 1.0,
) -> np.ndarray:
  """Float64 numbers that float32 holds exactly, so that files are exact."""
  drawn = mean + stddev * rng.standard_normal(shape)
  return drawn.astype(np.float32).astype(np.float64)


def positive(rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
  """Numbers from 0.5 to 2, as variances are; exact in float32."""
  drawn = rng.uniform(0.5, 2.0, shape)
  return drawn.astype(np.float32).astype(np.float64)


def parameter(
  rng: np.random.Generator,
  kind: str,
  shape: Sequence[int],
  fan_in: int | None = None,
) -> np.ndarray:
  """Draws a parameter with which no part of a model is trivial.

  Args:
    rng: generator.
    kind: 'scale' of a norm, 'bias', 'table' (of positions, latents, padding)
      or 'weight'.
    shape: of the parameter.
    fan_in: of a weight.

  Returns:
    Numbers like those of `normal`.
  """
  if kind == 'weight':
    return normal(rng, shape, stddev=1 / math.sqrt(fan_in))
  mean, stddev = {'scale': (1.0, 0.3), 'bias': (0.0, 0.3), 'table': (0.0, 1.0)}[
    kind
  ]
  return normal(rng, shape, mean, stddev)


def golden(config: Mapping[str, Any], **groups: Mapping[str, Any]) -> Golden:
  """Flattens groups of arrays to what a file holds.

  Args:
    config: plain hyperparameters.
    **groups: 'params', 'state', 'inputs', 'outputs', ... of named arrays.

  Returns:
    Arrays named 'group/name', and 'config' as JSON. Parameters, state and
    inputs are float32 (or integer), of which they are exact values.
  """
  arrays = {'config': np.array(json.dumps(config))}
  for group, members in groups.items():
    for name, value in members.items():
      value = np.asarray(value)
      if group in ('params', 'state', 'inputs') and value.dtype == np.float64:
        assert np.array_equal(value, value.astype(np.float32)), name
        value = value.astype(np.float32)
      arrays[f'{group}/{name}'] = value
  for name, value in arrays.items():
    if name != 'config':
      assert np.isfinite(value).all(), name
  return arrays


def differences(made: Golden, committed: Golden) -> list[str]:
  """Says where two files differ; nothing where they are equal."""
  found = [f'{name}: not committed' for name in made if name not in committed]
  found += [f'{name}: not made' for name in committed if name not in made]
  for name in sorted(set(made) & set(committed)):
    a, b = made[name], committed[name]
    if name == 'config':
      if json.loads(str(a)) != json.loads(str(b)):
        found.append(f'config: {a} is not {b}')
    elif (a.shape, a.dtype) != (b.shape, b.dtype):
      found.append(f'{name}: {a.dtype} {a.shape} is not {b.dtype} {b.shape}')
    elif not np.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE):
      found.append(f'{name}: off by {np.abs(a - b).max()}')
  return found


def write_or_check(
  folder: str, makers: Mapping[str, Callable[[], Golden]], check: bool
) -> int:
  """Writes a file for each maker, or compares with what is committed.

  Args:
    folder: beside this module.
    makers: by architecture.
    check: whether to compare and write nothing.

  Returns:
    Exit status.
  """
  status = 0
  for name, make in makers.items():
    path = HERE / folder / f'{name}.npz'
    made = make()
    if not check:
      path.parent.mkdir(exist_ok=True)
      np.savez_compressed(path, **made)
      print(f'{path.relative_to(HERE)}: {path.stat().st_size} bytes')
      continue
    committed = {}
    if path.exists():
      with np.load(path, allow_pickle=False) as file:
        committed = dict(file)
    found = differences(made, committed)
    for line in found:
      print(f'{path.relative_to(HERE)}: {line}')
    if not found:
      print(f'{path.relative_to(HERE)}: as committed')
    status |= bool(found)
  return status


def argument_parser(description: str) -> argparse.ArgumentParser:
  """A parser that knows --check."""
  parser = argparse.ArgumentParser(
    description=description,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument(
    '--check',
    action='store_true',
    help='compare with the committed files and write nothing',
  )
  return parser


def drawn_weights(
  shapes: Mapping[str, Sequence[int]],
) -> dict[str, np.ndarray]:
  """Draws the parameters of a model of Hugging Face, each from its own name.

  So files need not hold them. The generator is NumPy's old one, whose numbers
  never change.

  Args:
    shapes: by name in the state dict.

  Returns:
    Arrays float16, which all of float16, float32 and float64 hold.
  """
  return {name: _drawn(name, tuple(shape)) for name, shape in shapes.items()}


def drawn_images(height: int, width: int) -> np.ndarray:
  """Two images `[2, height, width, 3]`, the same for ever."""
  numbers = np.random.RandomState(0).randn(2, height, width, 3)
  return numbers.astype(np.float32).astype(np.float64)


def _drawn(name: str, shape: tuple[int, ...]) -> np.ndarray:
  if name.endswith('num_batches_tracked'):
    return np.array(7)
  numbers = np.random.RandomState(zlib.crc32(name.encode())).randn(*shape)
  if name.endswith('running_var'):
    numbers = 0.5 + np.abs(numbers)
  elif name.endswith('.weight') and len(shape) == 1:
    numbers = 1.0 + 0.3 * numbers
  elif name.endswith('bias'):
    numbers *= 0.3
  elif name.endswith('.weight') and 'embeddings' not in name:
    numbers /= math.sqrt(math.prod(shape[1:]))
  return numbers.astype(np.float16)
