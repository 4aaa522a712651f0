"""What a run prints while it trains."""

import contextlib
import io
import sys

import pytest

from experiments.host.progress import Progress

ROW = {
  'train/loss': 0.51234,
  'train/examples_per_second': 123.6,
  'train/seconds_per_step': 0.5,
}


def show(*, active):
  with contextlib.closing(Progress(100, 300, active=active)) as progress:
    progress.say('Compiling.')
    progress.advance()
    progress.report(101, ROW)
    progress.advance()
    progress.say('step 102: eval/accuracy 0.5')


def test_plain_lines_where_there_is_no_terminal(capsys):
  show(active=True)
  out, err = capsys.readouterr()
  # 199 steps of half a second are left: 99 seconds.
  assert out.splitlines() == [
    'Compiling.',
    'step 101/300: loss 0.5123, 124 examples/s, 01:39 left',
    'step 102: eval/accuracy 0.5',
  ]
  assert err == ''


@pytest.mark.parametrize(
  ('share', 'said'),
  [({}, 'peak unknown'), ({'share_of_peak': 0.4567}, '45.7% of peak')],
)
def test_operations_a_second(capsys, share, said):
  row = ROW | {'train/teraflops_per_device': 0.123456}
  row |= {f'train/{name}': value for name, value in share.items()}
  with contextlib.closing(Progress(100, 300, active=True)) as progress:
    progress.report(101, row)
  assert capsys.readouterr().out == (
    'step 101/300: loss 0.5123, 124 examples/s, 0.123 TFLOP/s a device '
    f'({said}), 01:39 left\n'
  )


class Terminal(io.StringIO):
  """Standard output that says it is a terminal."""

  def isatty(self):
    return True


def test_a_bar_on_a_terminal(monkeypatch):
  terminal = Terminal()
  monkeypatch.setattr(sys, 'stdout', terminal)
  show(active=True)
  shown = terminal.getvalue()
  assert '\r' in shown
  assert '102/300' in shown
  assert 'loss 0.5123, 124 examples/s' in shown
  assert 'step 102: eval/accuracy 0.5\n' in shown
  assert 'left' not in shown  # the bar says so itself


def test_only_the_first_process_prints(monkeypatch, capsys):
  show(active=False)
  assert capsys.readouterr() == ('', '')
  terminal = Terminal()
  monkeypatch.setattr(sys, 'stdout', terminal)
  show(active=False)
  assert terminal.getvalue() == ''
