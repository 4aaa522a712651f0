"""A long run that is killed again and again, and must end as if it had not.

  make soak

trains digits twice on 8 simulated devices: once unbroken, once killed (SIGKILL)
every 200 to 400 steps and started again. Checks that both end in the same
state, to the bit, with the same losses, and that memory does not grow. Takes
about a quarter of an hour on 2 CPU cores.
"""

import argparse
import contextlib
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np

from experiments.host.configuration import read_config
from experiments.runs.experiment import build_experiment, open_checkpoints
from tests import simulated_devices

ROOT = pathlib.Path(__file__).parents[1]
CONFIG = ROOT / 'experiments' / 'configs' / 'digits.py'
DEVICES = 8


def start(workdir: pathlib.Path, steps: int) -> subprocess.Popen:
  """Starts or continues a run."""
  return subprocess.Popen(
    [
      *(sys.executable, '-m', 'experiments.train', f'--config={CONFIG}'),
      f'--workdir={workdir}',
      f'--config.train_steps={steps}',
      '--config.log_every=20',
      f'--config.eval_every={steps // 2}',
      '--config.checkpoint_every=50',
      '--config.ema_decay=0.99',
    ],
    cwd=ROOT,
    env=simulated_devices.environment(DEVICES),
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def run_until(process: subprocess.Popen, stop: int | None) -> int:
  """Kills a run at a step, or lets it end; returns the last step it said."""
  step, lines = 0, []
  for line in process.stdout:
    lines.append(line)
    if found := re.match(r'step (\d+)/', line):
      step = int(found[1])
      if stop is not None and step >= stop:
        process.kill()
        break
  process.stdout.close()
  if process.wait() != 0 and stop is None:
    raise RuntimeError(''.join(lines))
  return step


def run_broken(workdir: pathlib.Path, steps: int, seed: int) -> list[int]:
  """Runs to the end, with a kill every 200 to 400 steps; returns where."""
  rng, kills, step = random.Random(seed), [], 0
  while True:
    stop = step + rng.randint(200, 400)
    process = start(workdir, steps)
    if stop >= steps:
      run_until(process, None)
      return kills
    step = run_until(process, stop)
    kills.append(step)
    print(f'Killed at step {step}.', flush=True)


def final_state(workdir: pathlib.Path, steps: int):
  """The state of the last checkpoint, as numpy arrays."""
  config = read_config(workdir)
  experiment = build_experiment(config, None)
  with contextlib.closing(open_checkpoints(config, workdir)) as checkpoints:
    return checkpoints.restore(steps, experiment.template)


def column(workdir: pathlib.Path, name: str) -> list[float]:
  """A metric by step."""
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  rows = [json.loads(line) for line in lines]
  return [row[name] for row in rows if name in row]


def main() -> None:
  """Runs both, and prints what was found."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--steps', type=int, default=2000)
  parser.add_argument('--seed', type=int, default=0)
  options = parser.parse_args()
  folder = pathlib.Path(tempfile.mkdtemp(prefix='soak'))
  began = time.monotonic()
  run_until(start(folder / 'unbroken', options.steps), None)
  kills = run_broken(folder / 'broken', options.steps, options.seed)
  expected = final_state(folder / 'unbroken', options.steps)
  actual = final_state(folder / 'broken', options.steps)
  jax.tree.map(np.testing.assert_array_equal, actual, expected)
  losses = [column(folder / x, 'eval/loss') for x in ('unbroken', 'broken')]
  assert losses[0] == losses[1], losses
  memory = np.array(column(folder / 'unbroken', 'train/host_memory')) / 2**20
  tenth = len(memory) // 10
  early, late = memory[tenth : 2 * tenth].mean(), memory[-tenth:].mean()
  leaves = jax.tree.leaves(expected)
  print(
    f'{options.steps} steps on {DEVICES} simulated devices, killed at steps '
    f'{kills}: {len(leaves)} arrays and the losses are equal to the bit. '
    f'Resident memory {early:.0f} MiB in the second tenth, {late:.0f} MiB in '
    f'the last. {time.monotonic() - began:.0f} s.'
  )
  if late > 1.05 * early:
    sys.exit('Memory grows.')


if __name__ == '__main__':
  main()
