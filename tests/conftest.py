"""Settings of all tests."""

import os
import signal

import jax
import pytest

# Commands that tests start keep what they compile where a test says so, never
# in the cache of the user.
os.environ['JAX_ENABLE_COMPILATION_CACHE'] = '0'

# A silent broadcast over a missing axis is the commonest shape bug.
jax.config.update('jax_numpy_rank_promotion', 'raise')

# Small models compile far longer than they run; this halves the time. Whole
# runs (test_train.py) are processes of their own, compiled as users' are.
if 'JAX_DISABLE_MOST_OPTIMIZATIONS' not in os.environ:
  jax.config.update('jax_disable_most_optimizations', True)


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
