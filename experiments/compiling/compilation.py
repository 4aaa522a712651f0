"""Compiles a program for devices that are not here, or takes it from a folder.

jax's own cache of compilations writes such programs and cannot read them again:
that takes the devices. What is wanted of them, text and sizes, is kept here.
"""

import contextlib
import gzip
import hashlib
import json
import os
import pathlib
import re
import time
from collections.abc import Mapping
from typing import NamedTuple

import jax

_UNITS = {'K': 2**10, 'M': 2**20, 'G': 2**30, 'T': 2**40}
# 'the total memory required for HLO temporaries (34.13G) exceeds ...' counts
# arguments too; 'Used 48.70G of 30.75G hbm' is said later in a compilation.
_NEEDED = (
  re.compile(r'temporaries \(([\d.]+)([KMGT]?)\)'),
  re.compile(r'Used ([\d.]+)([KMGT]?) of'),
)
# What else decides how a program is compiled, beside the options of one call;
# not every release of jax has each.
_SETTINGS = (
  'jax_optimization_level',
  'jax_memory_fitting_level',
  'jax_exec_time_optimization_effort',
  'jax_memory_fitting_effort',
)
_FLAGS = ('XLA_FLAGS', 'LIBTPU_INIT_ARGS')


class CompilerFailure(ValueError):
  """A compiler gives up on a program, for another reason than memory."""


class Compiled(NamedTuple):
  """What became of a compilation.

  Attributes:
    fits: whether the compiler found it to fit into the memory that it was told.
    peak: bytes of memory that it needs on a device at the most.
    arguments: bytes of what goes in; 0 where it does not fit.
    text: the optimised HLO; '' where it does not fit.
    seconds: that the compilation took.
  """

  fits: bool
  peak: int
  arguments: int
  text: str
  seconds: float


class Kept:
  """Compilations of earlier calls, in a folder."""

  def __init__(self, folder: pathlib.Path | None, versions: str):
    """Opens a folder.

    Args:
      folder: made when something is kept; None keeps nothing.
      versions: of jax and of the compiler.
    """
    self._folder = folder
    self._versions = versions

  def key(
    self, lowered: jax.stages.Lowered, options: Mapping, place: str
  ) -> str:
    """Returns what tells a compilation from all others.

    jax's settings of effort and the compilers' environment are part of it.

    Args:
      lowered: the program.
      options: of the compiler.
      place: name of the topology.
    """
    settings = [getattr(jax.config, name, None) for name in _SETTINGS]
    flags = [os.environ.get(name) for name in _FLAGS]
    said = json.dumps(
      [self._versions, place, sorted(options.items()), settings, flags]
    )
    text = lowered.as_text()
    return hashlib.sha256(f'{said}\n{text}'.encode()).hexdigest()

  def find(self, key: str) -> Compiled | None:
    """Returns an earlier compilation, or None."""
    if self._folder is None:
      return None
    try:
      data = gzip.decompress((self._folder / f'{key}.gz').read_bytes())
      return Compiled(**json.loads(data))
    except (OSError, EOFError, ValueError, TypeError):
      return None  # There is none, or half of one.

  def keep(self, key: str, compiled: Compiled) -> None:
    """Keeps a compilation; a folder that cannot be written keeps nothing."""
    if self._folder is None:
      return
    data = gzip.compress(json.dumps(compiled._asdict()).encode(), 6)
    unfinished = self._folder / f'{key}.{os.getpid()}'
    try:
      self._folder.mkdir(parents=True, exist_ok=True)
      unfinished.write_bytes(data)
      unfinished.replace(self._folder / f'{key}.gz')
    except OSError:
      with contextlib.suppress(OSError):
        unfinished.unlink()


def compile_program(
  lowered: jax.stages.Lowered, options: Mapping[str, str]
) -> Compiled:
  """Compiles a program; that it does not fit is an answer too.

  Args:
    lowered: for devices of a topology.
    options: of the compiler.

  Raises:
    CompilerFailure: the compiler fails for another reason.
  """
  start = time.perf_counter()
  try:
    compiled = lowered.compile(compiler_options=dict(options))
  except jax.errors.JaxRuntimeError as error:
    peak = needed_bytes(str(error))
    if peak is None:
      raise CompilerFailure(
        f'The compiler fails: {str(error).splitlines()[0][:300]}'
      ) from error
    return Compiled(False, peak, 0, '', time.perf_counter() - start)
  memory = compiled.memory_analysis()
  # Older releases do not tell the peak.
  peak = getattr(memory, 'peak_memory_in_bytes', 0) or (
    memory.argument_size_in_bytes
    + memory.output_size_in_bytes
    - memory.alias_size_in_bytes
    + memory.temp_size_in_bytes
  )
  return Compiled(
    True,
    peak,
    memory.argument_size_in_bytes,
    compiled.as_text(),
    time.perf_counter() - start,
  )


def needed_bytes(message: str) -> int | None:
  """Returns the memory that a compiler's refusal says is needed, or None."""
  for pattern in _NEEDED:
    if found := pattern.search(message):
      return int(float(found[1]) * _UNITS.get(found[2], 1))
  return None
