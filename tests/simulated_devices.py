"""Processes in which jax has several simulated devices."""

import os
import subprocess
import sys

import jaxlib.version

# For XLA to compile for CPUs in less time. Emitting fusions through MLIR takes
# two thirds of it. That can be turned off up to 0.10; a flag that XLA does not
# know ends the process.
_XLA_FLAGS = ['--xla_cpu_parallel_codegen_split_count=1']
if jaxlib.version.__version_info__ < (0, 11):
  _XLA_FLAGS.append('--xla_cpu_use_fusion_emitters=false')
CHEAPLY_COMPILED = {
  'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',
  'XLA_FLAGS': ' '.join(_XLA_FLAGS),
}


def environment(devices):
  """Returns the environment of a process with so many CPU devices."""
  flag = f'--xla_force_host_platform_device_count={devices}'
  return os.environ | {
    'JAX_PLATFORMS': 'cpu',
    'XLA_FLAGS': f'{os.environ.get("XLA_FLAGS", "")} {flag}',
  }


def compilation_cache(folder):
  """Returns what to add, for processes to share what they compile."""
  return {
    'JAX_ENABLE_COMPILATION_CACHE': '1',
    'JAX_COMPILATION_CACHE_DIR': folder,
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
  }


def run_script(script, devices):
  """Runs Python code to its end in a process of its own."""
  return subprocess.run(
    [sys.executable, '-c', script],
    env=environment(devices),
    capture_output=True,
    text=True,
    check=False,
  )
