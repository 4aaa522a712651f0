"""Requests that come at once go through the model together."""

import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

from experiments.data.dataset import Example
from experiments.runs.trained import MOST_AT_ONCE, TrainedRun

Read = Callable[[], Sequence[Example]]
Finish = Callable[[Sequence[Any], Sequence[Example]], Any]


class _Job(NamedTuple):
  """What is wanted of the model.

  Attributes:
    finish: makes the result of predictions and examples.
    future: of the result.
    examples: that were read.
  """

  finish: Finish
  future: Future
  examples: Sequence[Example] = ()


class Batcher:
  """Runs a model for many callers, in one thread of its own.

  Jobs are read beside the model, in other threads, each as it comes. Those that
  were read while the model was busy go through it together, about
  `MOST_AT_ONCE` examples at a time. What goes wrong with one is its own affair.
  """

  def __init__(self, run: TrainedRun, readers: int):
    """Starts the threads.

    Args:
      run: whose model it is; nobody else should call it meanwhile.
      readers: jobs that are read at a time.
    """
    self._run = run
    self._readers = ThreadPoolExecutor(readers, thread_name_prefix='read')
    self._ready: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
    self._is_closed = threading.Event()
    self._batches = self._examples = 0
    # A daemon: a second Ctrl-C does not wait for the model.
    self._thread = threading.Thread(
      target=self._work, name='model', daemon=True
    )
    self._thread.start()

  def submit(self, read: Read, finish: Finish) -> Future:
    """Hands in a job; returns the future of its result.

    Args:
      read: makes the examples; called in a thread of its own.
      finish: makes the result of the predictions of the examples, each without
        a batch axis, and of the examples; called in the model's thread.
    """
    job = _Job(finish, Future())
    reading = self._readers.submit(self._read, read, job)
    # In the end, of what nobody has begun to read.
    reading.add_done_callback(lambda x: x.cancelled() and job.future.cancel())
    return job.future

  def is_alive(self) -> bool:
    """Returns whether jobs are still worked on."""
    return self._thread.is_alive()

  def counts(self) -> Mapping[str, int]:
    """Returns how much was done: jobs read that wait, batches, examples."""
    return {
      'ready': self._ready.qsize(),
      'batches': self._batches,
      'examples': self._examples,
    }

  def close(self) -> None:
    """Ends the threads; jobs that still wait are cancelled."""
    self._is_closed.set()
    self._readers.shutdown(wait=False, cancel_futures=True)
    self._ready.put(None)
    self._thread.join()

  def _read(self, read: Read, job: _Job) -> None:
    if job.future.cancelled():
      return
    try:
      examples = read()
    except Exception as error:  # pylint: disable=broad-exception-caught
      if job.future.set_running_or_notify_cancel():
        job.future.set_exception(error)
    else:
      if self._is_closed.is_set():
        job.future.cancel()
      self._ready.put(job._replace(examples=examples))

  def _work(self) -> None:
    while (job := self._ready.get()) is not None:
      if self._is_closed.is_set():
        job.future.cancel()
      else:
        self._answer(self._together(job))

  def _together(self, job: _Job | None) -> list[_Job]:
    """Returns a job, and those that wait until there are enough examples."""
    ready, count = [], 0
    while job is not None:
      if job.future.set_running_or_notify_cancel():
        ready.append(job)
        count += len(job.examples)
      if count >= MOST_AT_ONCE:
        break
      job = self._next_waiting()
    self._batches += bool(ready)
    self._examples += count
    return ready

  def _next_waiting(self) -> _Job | None:
    try:
      job = self._ready.get_nowait()
    except queue.Empty:
      return None
    if job is None:
      self._ready.put(job)  # For `_work`, which ends then.
    return job

  def _answer(self, ready: Sequence[_Job]) -> None:
    """Runs the model, and each job's own ending."""
    examples = [example for job in ready for example in job.examples]
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
        ready[0].future.set_exception(error)
      return
    for job in ready:
      _finish(job, [next(predictions) for _ in job.examples])


def _finish(job: _Job, predictions: Sequence[Any]) -> None:
  try:
    job.future.set_result(job.finish(predictions, job.examples))
  except Exception as error:  # pylint: disable=broad-exception-caught
    job.future.set_exception(error)
