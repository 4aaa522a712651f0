"""What both ways of running on many devices need."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from perceiver_jax.portability import traced_for


def tracing_for(
  devices: Sequence[jax.Device] | None, function: Callable
) -> Callable:
  """Returns the function, to be traced for devices that need not be here."""
  if devices is None:
    return function

  @functools.wraps(function)
  def traced(*arguments: Any) -> Any:
    with traced_for(devices[0]):
      return function(*arguments)

  return traced


def in_turn(function: Callable) -> Callable:
  """On the CPU, waits for each call; elsewhere calls are queued.

  Simulated devices share threads: calls that are queued behind each other can
  wait for each other for ever, and nothing is gained by them.
  """
  if jax.default_backend() != 'cpu':
    return function

  @functools.wraps(function)
  def call(*arguments: Any) -> Any:
    return jax.block_until_ready(function(*arguments))

  call.lower = function.lower
  return call


def gather(arrays: Any) -> Any:
  """Brings arrays of all processes to each, as numpy arrays."""
  if jax.process_count() == 1:
    return jax.tree.map(np.asarray, arrays)
  return multihost_utils.process_allgather(arrays, tiled=True)
