"""What the devices of a sharded run say to each other, from its program."""

import json

import pytest

from tests.simulated_devices import run_script

# No other axis of the model or of its arrays is as long as this batch.
BATCH = 88
SCRIPT = f"""
import json
import math

import jax

from experiments.compiling.costs import count_costs
from experiments.compiling.hlo import parse
from experiments.configs import digits
from experiments.host.configuration import fill_defaults
from experiments.data.dataset import array_spec, batch_spec
from experiments.runs.experiment import bind
from experiments.stepping.parallelism import Sharded
from experiments.stepping.steps import make_evaluation, make_update
from experiments.stepping.train_state import state_shapes

config = digits.get_config()
config.compute_dtype = 'bfloat16'
config.encoder.rematerialize = 'elementwise'
config.encoder.cross_attends = (1,)
task, schedule, optimizer = bind(fill_defaults(config), None)
example = {{**task.data.example, 'weight': array_spec()}}
shapes = state_shapes(task.model, optimizer, batch_spec(example, 1))
batch = batch_spec(example, {BATCH})


def tell(name, program):
  exchanges = count_costs(parse(program.compile().as_text())).exchanges
  print(json.dumps([name, [
    [each.operation, each.shapes, nbytes]
    for each, (nbytes, _) in exchanges.items()
  ]]))


print(json.dumps(sum(
  math.prod(x.shape) * x.dtype.itemsize
  for x in jax.tree.leaves(shapes.params)
)))
for name, way in [
  ('sharded', Sharded()),
  ('replicas', Sharded(shards=4)),
  ('layers', Sharded(layer_by_layer=True)),
]:
  update = way.update(make_update(
    task.model, task.loss_function, optimizer, schedule, seed=0,
    collectives=way.collectives,
  ))
  state, placed = way.template(shapes), way.batch_template(batch)
  tell(name, update.lower(state, placed))
  if name == 'sharded':
    evaluation = way.evaluation(make_evaluation(
      task.model, task.loss_function, collectives=way.collectives
    ))
    tell('evaluation', evaluation.lower(state.params, state.state, placed))
"""


@pytest.fixture(scope='module')
def told():
  """Bytes of the parameters; by way, the exchanges of a step."""
  result = run_script(SCRIPT, devices=8)
  assert result.returncode == 0, result.stderr
  nbytes, *ways = map(json.loads, result.stdout.splitlines())
  return nbytes, dict(ways)


WAYS = ('sharded', 'replicas', 'layers', 'evaluation')


@pytest.mark.parametrize('way', WAYS)
def test_nothing_of_the_batch_is_sent(told, way):
  _, exchanges = told
  assert exchanges[way]
  for _, shapes, _ in exchanges[way]:
    sizes = [
      int(n) for n in shapes.partition('[')[2].rstrip(']').split(',') if n
    ]
    assert BATCH not in sizes and BATCH // 8 not in sizes, shapes


@pytest.mark.parametrize('way', WAYS)
def test_sums_over_devices_are_in_float32(told, way):
  _, exchanges = told
  for operation, shapes, _ in exchanges[way]:
    assert shapes.startswith('f32') or operation == 'all-gather', shapes


def bytes_of(exchanges, *operations):
  return sum(n for kind, _, n in exchanges if kind in operations)


def test_a_step_sends_parameters_once_and_gradients_once(told):
  parameters, exchanges = told
  for way in ('sharded', 'replicas'):
    gathered = bytes_of(exchanges[way], 'all-gather')
    summed = bytes_of(exchanges[way], 'reduce-scatter', 'all-reduce')
    assert 0.95 * parameters < gathered < 1.05 * parameters
    assert 0.95 * parameters < summed < 1.5 * parameters
  assert bytes_of(exchanges['evaluation'], 'all-gather') < 1.05 * parameters


def test_layer_by_layer_gathers_for_the_gradient_once_more(told):
  parameters, exchanges = told
  gathered = bytes_of(exchanges['layers'], 'all-gather')
  assert 1.5 * parameters < gathered < 3.0 * parameters
