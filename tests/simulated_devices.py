"""Processes in which jax has several simulated devices."""

import os
import subprocess
import sys


def environment(devices):
  """Returns the environment of a process with so many CPU devices."""
  return os.environ | {
    'JAX_PLATFORMS': 'cpu',
    'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}',
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
