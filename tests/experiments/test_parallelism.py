"""Updates on several devices, in a process that has them."""

import os
import subprocess
import sys

# Prints what the mapped update and its inputs do on two devices.
SCRIPT = """
import jax
import numpy as np

from experiments import parallelism

parallelism.configure_backend()
update = parallelism.pmap_update(
  lambda state, batch: (
    state + jax.lax.pmean(batch['x'].sum(), parallelism.AXIS),
    jax.lax.psum(batch['x'].sum(), parallelism.AXIS),
  )
)
batch = {'x': np.arange(8.0, dtype=np.float32).reshape(4, 2)}
placed = parallelism.place_batch(batch)
assert placed['x'].shape == (2, 2, 2)
assert [int(shard.data.sum()) for shard in placed['x'].addressable_shards] == [
  6,
  22,
]
state, total = update(jax.numpy.zeros(()), placed)
assert (float(state), float(total)) == (14.0, 28.0)

# Nothing is copied any more when the step begins.
before = state
with jax.transfer_guard('disallow'):
  state, _ = update(state, placed)
assert float(state) == 28.0
assert before.is_deleted()  # Its memory was given to the new state.
try:
  with jax.transfer_guard('disallow'):
    update(state, {'x': batch['x'].reshape(2, 2, 2)})
except jax.errors.JaxRuntimeError:
  print('done')
"""


def test_a_placed_batch_is_on_its_devices_before_the_step():
  environment = os.environ | {
    'JAX_PLATFORMS': 'cpu',
    'XLA_FLAGS': '--xla_force_host_platform_device_count=2',
  }
  result = subprocess.run(
    [sys.executable, '-c', SCRIPT],
    env=environment,
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.stdout == 'done\n', result.stderr
