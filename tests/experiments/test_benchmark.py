"""The benchmark runs and its figures belong together; nothing is timed here."""

import json

import pytest

from experiments import benchmark
from experiments.configs import digits
from experiments.measuring import scaling
from experiments.measuring.forward_pass import forward_operations
from experiments.runs.experiment import bind
from tests.small_runs import small_digits

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def result():
  return benchmark.benchmark(
    small_digits(), examples=2, repeats=1, plain=True, baseline=None
  )


def test_both_forms_are_timed(result):
  assert set(result['rows']) == {
    'ours forward',
    'ours update',
    'plain forward',
    'plain update',
  }
  for name, row in result['rows'].items():
    passes = 1 if name.endswith('forward') else 3
    assert row['seconds'] > 0.0
    assert row['operations_per_second'] == pytest.approx(
      passes * result['operations_forward'] / row['seconds']
    )
    assert row['share_of_matrix_rate'] == pytest.approx(
      row['operations_per_second'] / result['matrix_rate']
    )


def test_activations_may_be_bfloat16():
  result = benchmark.benchmark(
    small_digits(),
    examples=2,
    repeats=1,
    plain=False,
    baseline=None,
    dtype='bfloat16',
  )
  assert set(result['rows']) == {'ours forward', 'ours update'}
  assert 'bfloat16' in benchmark.render(result)


def test_the_dtype_is_that_of_the_config_unless_another_is_asked_for(
  monkeypatch,
):
  class Chosen(Exception):
    pass

  def compile_(config, examples):
    raise Chosen(config.compute_dtype)

  monkeypatch.setattr(benchmark, '_compile', compile_)
  config = digits.get_config()
  config.compute_dtype = 'bfloat16'
  for asked, chosen in ((None, 'bfloat16'), ('float32', 'float32')):
    with pytest.raises(Chosen, match=chosen):
      benchmark.benchmark(
        config, examples=1, repeats=1, plain=False, baseline=None, dtype=asked
      )
  assert config.compute_dtype == 'bfloat16'


def test_published_models_are_those_of_the_papers(result):
  billions = {
    name: forward_operations(bind(config.get_config(), None).task) / 1e9
    for name, config in benchmark._PUBLISHED.items()
  }
  # docs/performance.md; the language model reads 2,048 bytes.
  assert billions['imagenet_io'] == pytest.approx(406, abs=1)
  assert billions['imagenet'] > 1.5 * billions['imagenet_io']
  assert 100 < billions['language'] < billions['imagenet_io']
  text = benchmark.render_several({'a': result, 'b': result})
  assert text.count('ours update takes') == 2
  assert text.startswith('a\n') and '\n\nb\n' in text


def test_operations_are_those_of_all_examples(result):
  one = forward_operations(bind(small_digits(), None).task)
  assert result['operations_forward'] == 2 * one


def test_our_form_needs_less_memory_than_the_plain_one(result):
  rows = result['rows']
  assert (
    rows['ours update']['temporary_bytes']
    < rows['plain update']['temporary_bytes']
  )


def test_results_are_json_and_text(result):
  json.dumps(result)
  text = benchmark.render(result)
  assert 'ours update takes' in text
  assert text.count('\n') == 7


def test_calls_take_turns_and_the_first_round_does_not_count(monkeypatch):
  order = []
  clock = iter(range(100))
  monkeypatch.setattr(benchmark.time, 'perf_counter', lambda: next(clock))
  seconds = benchmark.time_in_turns(
    {'a': lambda: order.append('a'), 'b': lambda: order.append('b')}, 2
  )
  assert order == ['a', 'b'] * 3
  assert set(seconds) == {'a', 'b'}
  # Reading the clock twice a counted call, once a call that is not.
  assert seconds == {'a': 1, 'b': 1}


def test_scaling_reports_each_size_and_the_growth(monkeypatch):
  monkeypatch.setattr(
    scaling, '_BASE', {'inputs': 16, 'latents': 8, 'layers': 1, 'batch': 1}
  )
  monkeypatch.setattr(scaling, '_SWEEPS', {'inputs': (16, 64, 256)})

  def quadratic(calls, repeats):
    for call in calls.values():
      call()
    return {name: float(name) ** 2 for name in calls}

  result = scaling.measure(quadratic, 1)
  assert result['inputs']['exponent'] == pytest.approx(2.0)
  assert [row['inputs'] for row in result['inputs']['rows']] == [16, 64, 256]
  assert 'grows with the power 2.00' in scaling.render(result)
