"""What the processes of a run make of errors. test_ends.py has real ones."""

import pytest

from experiments.host import processes


class Alone:
  """Connections over which no news comes; keeps what is told."""

  def __init__(self):
    self.told = []

  def await_news(self):
    pass

  def tell(self, what, code):
    self.told.append((what, code))

  def part(self):
    self.told.append('well')


@pytest.fixture
def ended(monkeypatch):
  """Exit codes with which this process would have ended, and what it told."""
  peers, codes = Alone(), []
  monkeypatch.setattr(processes, '_initialize', lambda *arguments: None)
  monkeypatch.setattr(processes, '_meet', lambda *arguments: {})
  monkeypatch.setattr(processes, 'Peers', lambda *arguments: peers)
  monkeypatch.setattr(processes, '_peers', None)

  def end(code):
    codes.append(code)
    raise SystemExit(code)

  monkeypatch.setattr(processes, '_exit', end)
  return peers, codes


# As they have been seen when the other process was killed, with no word of it.
@pytest.mark.parametrize(
  'text',
  [
    'UNKNOWN: Gloo all-reduce failed: [external/gloo/gloo/transport/tcp/'
    'pair.cc:538] Read error [127.0.0.1]:20134: Connection reset by peer',
    'UNKNOWN: Gloo AllGather failed: [external/gloo/gloo/transport/tcp/'
    'pair.cc:538] Read error [127.0.0.1]:13470: Connection reset by peer',
    'UNAVAILABLE: Task 1 heartbeat timeout. This indicates that the remote '
    'task has failed, got preempted, or crashed unexpectedly.',
  ],
)
def test_others_that_cannot_be_reached_are_no_mistake_of_the_user(
  ended, capsys, text
):
  peers, codes = ended
  with pytest.raises(SystemExit), processes.joined('127.0.0.1:1,2,0', 100):
    raise ValueError(text)
  assert codes == [processes.START_AGAIN]
  error = capsys.readouterr().err
  assert error.startswith('Error: Computing with the others failed: UN')
  assert error.endswith('it goes on from the last checkpoint.\n')
  ((what, code),) = peers.told
  assert (what, code) == (f'failed: {error[7:-1]}', processes.START_AGAIN)


@pytest.mark.parametrize(
  'error',
  [
    ValueError('batch_size = 3 cannot be divided among 2 devices.'),
    OSError('/data/NCCLfolder: there is no such folder.'),
    RuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes.'),
  ],
)
def test_errors_of_this_process_alone_are_its_own(ended, error):
  peers, codes = ended
  with (
    pytest.raises(type(error), match=str(error)),
    processes.joined('127.0.0.1:1,2,0', 100),
  ):
    raise error
  assert not codes
  assert not peers.told
  with pytest.raises(SystemExit):
    processes.leave(2, str(error))
  assert codes == [2]
  assert peers.told == [(f'failed: {error}', 2)]


def test_ctrl_c_ends_all(ended):
  peers, codes = ended
  with pytest.raises(SystemExit), processes.joined('127.0.0.1:1,2,0', 100):
    raise KeyboardInterrupt
  assert codes == [130]
  assert peers.told == [('failed: stopped at once by Ctrl-C.', 130)]


def test_an_exit_code_of_a_command_is_no_failure(ended, monkeypatch):
  peers, codes = ended
  monkeypatch.setattr(processes, 'await_all', lambda: None)
  with (
    pytest.raises(SystemExit),
    processes.joined('127.0.0.1:1,2,0', 100),
  ):
    raise SystemExit(1)
  assert peers.told == ['well']
  assert not codes


def test_a_run_of_one_process_ends_as_usual():
  with pytest.raises(ValueError, match='Gloo'), processes.joined(None, 100):
    raise ValueError('Gloo')
  with pytest.raises(SystemExit) as ended:
    processes.leave(2, 'a mistake')
  assert ended.value.code == 2
