"""Requests that come at once go through the model together."""

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from experiments.data.dataset import Example
from experiments.runs.trained import MOST_AT_ONCE, TrainedRun

Read = Callable[[], Sequence[Example]]
Finish = Callable[[Sequence[Any], Sequence[Example]], Any]


class _Job(NamedTuple):
  """What is wanted of the model.

  Attributes:
    read: makes its examples.
    finish: makes the result of predictions and examples.
    future: of the result.
  """

  read: Read
  finish: Finish
  future: Future


class Batcher:
  """Runs a model for many callers, in one thread of its own.

  Jobs that have come in while the model was busy are read, and their examples
  go through it together, about `MOST_AT_ONCE` at a time. What goes wrong with
  one is its own affair.
  """

  def __init__(self, run: TrainedRun):
    """Starts the thread.

    Args:
      run: whose model it is; nobody else should call it meanwhile.
    """
    self._run = run
    self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
    self._is_closed = threading.Event()
    # A daemon: a second Ctrl-C does not wait for the model.
    self._thread = threading.Thread(
      target=self._work, name='model', daemon=True
    )
    self._thread.start()

  def submit(self, read: Read, finish: Finish) -> Future:
    """Hands in a job; returns the future of its result.

    Args:
      read: makes the examples; called in the model's thread, as is
      finish: makes the result of the predictions of the examples, each without
        a batch axis, and of the examples.
    """
    future: Future = Future()
    self._jobs.put(_Job(read, finish, future))
    return future

  def is_alive(self) -> bool:
    """Returns whether jobs are still worked on."""
    return self._thread.is_alive()

  def close(self) -> None:
    """Ends the thread; jobs that still wait are cancelled."""
    self._is_closed.set()
    self._jobs.put(None)
    self._thread.join()

  def _work(self) -> None:
    while (job := self._jobs.get()) is not None:
      if self._is_closed.is_set():
        job.future.cancel()
        continue
      self._answer(self._read_together(job))

  def _read_together(
    self, job: _Job | None
  ) -> list[tuple[_Job, Sequence[Example]]]:
    """Reads a job, and those that wait until there are enough examples."""
    ready, count = [], 0
    while job is not None:
      examples = _read(job)
      if examples is not None:
        ready.append((job, examples))
        count += len(examples)
      if count >= MOST_AT_ONCE:
        break
      job = self._next_waiting()
    return ready

  def _next_waiting(self) -> _Job | None:
    try:
      job = self._jobs.get_nowait()
    except queue.Empty:
      return None
    if job is None:
      self._jobs.put(None)  # For `_work`, which ends then.
    return job

  def _answer(self, ready: list[tuple[_Job, Sequence[Example]]]) -> None:
    """Runs the model, and each job's own ending."""
    examples = [example for _, each in ready for example in each]
    try:
      predictions = iter(self._run.apply_all(examples))
    except Exception as error:  # pylint: disable=broad-exception-caught
      if len(ready) > 1:
        # One of them is at fault; the others get their answers.
        logging.getLogger(__name__).error(
          '%d requests failed together (%r); each is tried alone.',
          len(ready),
          error,
        )
        for each in ready:
          self._answer([each])
      elif ready:
        ready[0][0].future.set_exception(error)
      return
    for job, own in ready:
      _finish(job, [next(predictions) for _ in own], own)


def _read(job: _Job) -> Sequence[Example] | None:
  """Returns the examples of a job; None where that fails, or nobody waits."""
  if not job.future.set_running_or_notify_cancel():
    return None
  try:
    return job.read()
  except Exception as error:  # pylint: disable=broad-exception-caught
    job.future.set_exception(error)
    return None


def _finish(
  job: _Job, predictions: Sequence[Any], examples: Sequence[Example]
) -> None:
  try:
    job.future.set_result(job.finish(predictions, examples))
  except Exception as error:  # pylint: disable=broad-exception-caught
    job.future.set_exception(error)
