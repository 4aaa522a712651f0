"""The compilers for devices that are not here: whether they are installed.

They come as packages of their own, in the version that the installed jax asks
for. Nothing of jax may have been computed before `use_cpu`.
"""

import fnmatch
import importlib.metadata
import os
import re

import jax

from experiments.compiling.hardware import MEMORY_FRACTION
from experiments.compiling.topologies import GpuHosts, Topology

# What libtpu asks a cloud's metadata server about the machine, told at once:
# there is none. None of it matters to a compilation.
_LIBTPU = {
  'TPU_SKIP_MDS_QUERY': '1',
  'TPU_ACCELERATOR_TYPE': 'v4-8',
  'TPU_WORKER_HOSTNAMES': 'localhost',
  'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',  # Beside another program that has it.
  'TPU_MIN_LOG_LEVEL': '3',
  'TPU_STDERR_LOG_LEVEL': '3',
  'TF_CPP_MIN_LOG_LEVEL': '3',
}


_CUDNN = 'nvidia-cudnn-cu13'


def use_cpu() -> None:
  """Keeps this process off the devices that may be here.

  jax's own cache, which a user may have told it, cannot read again what it
  wrote of programs for other devices.
  """
  for name, value in _LIBTPU.items():
    os.environ.setdefault(name, value)
  jax.config.update('jax_platforms', 'cpu')
  jax.config.update('jax_enable_compilation_cache', False)


def check_installed(topology: Topology) -> str:
  """Returns the name and version of the compiler for a topology.

  Args:
    topology: to compile for.

  Raises:
    ValueError: it is not installed, or in a version that the installed jax does
      not ask for; says what to type.
  """
  if isinstance(topology, GpuHosts):
    package, extra = 'jax-cuda13-plugin', 'gpu'
  else:
    package, extra = 'libtpu', 'tpu'
  wanted = wanted_version(package, importlib.metadata.requires('jax') or [])
  try:
    version = importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    raise ValueError(
      f'To compile for {topology.name} takes {package} {wanted}, which is not '
      f"installed. Type: pip install 'perceiver-haiku[preflight-{extra}]' "
      f"(or pip install '{package}=={wanted}')."
    ) from None
  if not fnmatch.fnmatch(version, wanted):
    raise ValueError(
      f'{package} {version} is installed; jax {jax.__version__} asks for '
      f"{wanted}. Type: pip install '{package}=={wanted}'."
    )
  return f'{package} {version}'


def effort() -> str:
  """Returns what is said of a compiler that works less than by default.

  jax takes the level from JAX_OPTIMIZATION_LEVEL, for every program.
  """
  level = getattr(jax.config, 'jax_optimization_level', 'UNKNOWN')
  return '' if level == 'UNKNOWN' else f', optimization level {level}'


def notes(topology: Topology) -> list[str]:
  """Returns lines on what holds for these devices besides."""
  if not isinstance(topology, GpuHosts):
    return []
  lines = [
    f'Usable is what jax takes of a GPU, {MEMORY_FRACTION:.0%} unless '
    'XLA_PYTHON_CLIENT_MEM_FRACTION says',
    'otherwise.',
  ]
  try:
    importlib.metadata.version(_CUDNN)
  except importlib.metadata.PackageNotFoundError:
    lines += [
      f'{_CUDNN} is not installed here: attention was compiled in the form',
      'that needs none. With it, GPUs need less memory.',
    ]
  return lines


def wanted_version(package: str, requirements: list[str]) -> str:
  """Returns the version of a package that jax asks for, such as '0.0.42.*'.

  Args:
    package: by name.
    requirements: of jax, such as "libtpu==0.0.42.*; extra == 'tpu'".

  Raises:
    ValueError: it is not among them.
  """
  for requirement in requirements:
    name, *_ = re.split(r'[\[<>=!;~ ]', requirement)
    bounds = re.findall(r'(?:<=|==)([\w.*]+)', requirement.partition(';')[0])
    if name == package and bounds:
      return bounds[0]
  raise ValueError(
    f'jax {jax.__version__} does not say which {package} it works with; '
    'another release may.'
  )
