"""Compilers are asked for what users get from them."""

import os

import jax
import pytest

from experiments.compiling.compilers import check_installed, use_cpu
from experiments.compiling.topologies import find_topology
from tests import simulated_devices

use_cpu()
jax.config.update('jax_disable_most_optimizations', False)
for _name, _value in simulated_devices.CHEAPLY_COMPILED.items():
  if os.environ.get(_name) == _value:
    del os.environ[_name]


@pytest.fixture
def topology(request):
  """The topology of the parameter's name; its compiler is there."""
  found = find_topology(request.param)
  check_installed(found)
  return found
