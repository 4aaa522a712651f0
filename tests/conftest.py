"""Settings of all tests."""

import os
import signal

import jax
import pytest

from tests import simulated_devices

# Commands that tests start keep what they compile where a test says so, never
# in the cache of the user.
os.environ['JAX_ENABLE_COMPILATION_CACHE'] = '0'

# A silent broadcast over a missing axis is the commonest shape bug.
jax.config.update('jax_numpy_rank_promotion', 'raise')

# Small models compile far longer than they run.
if not simulated_devices.CHEAPLY_COMPILED.keys() & os.environ:
  os.environ |= simulated_devices.CHEAPLY_COMPILED
  jax.config.update('jax_disable_most_optimizations', True)


@pytest.fixture(scope='module')
def compiled_as_users_are():
  """Commands that tests start compile as those of users do."""
  with pytest.MonkeyPatch.context() as patch:
    for name in simulated_devices.CHEAPLY_COMPILED:
      patch.delenv(name, raising=False)
    yield


@pytest.fixture
def usual_signals():
  """Signals act as usual, in new processes too.

  Tests under nohup, or in the background of a shell, begin with some ignored.
  """
  before = {
    signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
  }
  yield
  for number, handler in before.items():
    signal.signal(number, handler)
