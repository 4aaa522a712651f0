"""Requests that come at once go through the model together."""

import threading
import time

import pytest

from experiments.runs.trained import MOST_AT_ONCE
from experiments.serving.batching import Batcher

SECONDS = 20


class Doubling:
  """Doubles numbers; waits for `gate` before; stumbles over negative ones."""

  def __init__(self):
    self.calls = []
    self.gate = threading.Event()
    self.gate.set()
    self.began = threading.Event()

  def apply_all(self, examples):
    self.began.set()
    assert self.gate.wait(SECONDS)
    self.calls.append(list(examples))
    if min(examples, default=0) < 0:
      raise RuntimeError('negative')
    return [2 * x for x in examples]


@pytest.fixture
def model():
  return Doubling()


@pytest.fixture
def batcher(model):
  batcher = Batcher(model, readers=1)
  yield batcher
  model.gate.set()
  batcher.close()
  assert not batcher.is_alive()


def busy(batcher, model):
  """Keeps the model at work on one job until its gate is opened."""
  model.gate.clear()
  first = batcher.submit(lambda: [0], lambda made, own: made)
  assert model.began.wait(SECONDS)
  return first


def submit(batcher, *examples):
  return batcher.submit(
    lambda: list(examples), lambda made, own: (list(made), list(own))
  )


def test_each_gets_its_own(batcher):
  futures = [submit(batcher, *range(i, i + i % 3 + 1)) for i in range(30)]
  for i, future in enumerate(futures):
    own = list(range(i, i + i % 3 + 1))
    assert future.result(SECONDS) == ([2 * x for x in own], own)


def test_what_waits_goes_together(batcher, model):
  first = busy(batcher, model)
  futures = [submit(batcher, i) for i in range(MOST_AT_ONCE + 3)]
  model.gate.set()
  assert first.result(SECONDS) == [0]
  assert [f.result(SECONDS) for f in futures] == [
    ([2 * i], [i]) for i in range(MOST_AT_ONCE + 3)
  ]
  assert [len(call) for call in model.calls] == [1, MOST_AT_ONCE, 3]


def test_a_long_input_is_not_held_with_many_others(batcher, model):
  first = busy(batcher, model)
  long = submit(batcher, *range(2 * MOST_AT_ONCE))
  short = submit(batcher, 1)
  model.gate.set()
  first.result(SECONDS), long.result(SECONDS), short.result(SECONDS)
  assert [len(call) for call in model.calls] == [1, 2 * MOST_AT_ONCE, 1]


def test_what_cannot_be_read_is_told_to_its_sender_alone(batcher, model):
  def fail():
    raise ValueError('unreadable')

  first = busy(batcher, model)
  good = submit(batcher, 1)
  bad = batcher.submit(fail, lambda made, own: made)
  also_good = submit(batcher, 2)
  model.gate.set()
  first.result(SECONDS)
  with pytest.raises(ValueError, match='unreadable'):
    bad.result(SECONDS)
  assert good.result(SECONDS) == ([2], [1])
  assert also_good.result(SECONDS) == ([4], [2])
  assert model.calls == [[0], [1, 2]]


def test_what_the_model_stumbles_over_spoils_no_other(batcher, model):
  first = busy(batcher, model)
  futures = [submit(batcher, x) for x in (1, -1, 2)]
  model.gate.set()
  first.result(SECONDS)
  assert futures[0].result(SECONDS) == ([2], [1])
  assert futures[2].result(SECONDS) == ([4], [2])
  with pytest.raises(RuntimeError, match='negative'):
    futures[1].result(SECONDS)
  assert model.calls == [[0], [1, -1, 2], [1], [-1], [2]]


def test_a_wrong_ending_spoils_no_other(batcher, model):
  first = busy(batcher, model)
  bad = batcher.submit(lambda: [1], lambda made, own: made[3])
  good = submit(batcher, 2)
  model.gate.set()
  first.result(SECONDS)
  with pytest.raises(IndexError):
    bad.result(SECONDS)
  assert good.result(SECONDS) == ([4], [2])


def test_nobody_waits_for_a_cancelled_one(batcher, model):
  first = busy(batcher, model)
  gone = submit(batcher, 1)
  assert gone.cancel()
  good = submit(batcher, 2)
  model.gate.set()
  first.result(SECONDS)
  assert good.result(SECONDS) == ([4], [2])
  assert model.calls == [[0], [2]]


def test_in_the_end_what_waits_is_cancelled(model):
  batcher = Batcher(model, readers=1)
  first = busy(batcher, model)
  closing = threading.Thread(target=batcher.close)
  late = submit(batcher, 1)
  closing.start()
  assert batcher._is_closed.wait(SECONDS)
  model.gate.set()
  closing.join(SECONDS)
  assert first.result(SECONDS) == [0]
  assert late.cancelled()
  assert not batcher.is_alive()


def test_reading_goes_on_beside_the_model(model):
  """What reads slowly keeps nobody from the model, nor the model who reads."""
  batcher = Batcher(model, readers=2)
  try:
    gate, begun = threading.Event(), threading.Event()

    def slowly():
      begun.set()
      assert gate.wait(SECONDS)
      return [7]

    slow = batcher.submit(slowly, lambda made, own: made)
    assert begun.wait(SECONDS)
    assert submit(batcher, 1).result(SECONDS) == ([2], [1])
    model.gate.clear()
    model.began.clear()
    first = submit(batcher, 2)
    assert model.began.wait(SECONDS)
    gate.set()  # Is read while the model is busy.
    until = time.monotonic() + SECONDS
    while not batcher.counts()['ready']:
      assert time.monotonic() < until
      time.sleep(0.001)
    assert not first.done()
    model.gate.set()
    assert slow.result(SECONDS) == [14]
    assert batcher.counts() == {'ready': 0, 'batches': 3, 'examples': 3}
  finally:
    model.gate.set()
    batcher.close()
