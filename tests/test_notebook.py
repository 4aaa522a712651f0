"""The notebook of examples/ runs from its top to its end."""

import nbformat
import pytest
from nbclient import NotebookClient

from tests.documents import ROOT

pytestmark = pytest.mark.slow

PATH = ROOT / 'examples' / 'perceiver.ipynb'
STEPS = 10
MOST_BYTES = 300_000


@pytest.fixture(scope='module')
def notebook() -> nbformat.NotebookNode:
  return nbformat.read(PATH, as_version=4)


def parameters(notebook):
  (cell,) = (
    cell
    for cell in notebook.cells
    if 'parameters' in cell.metadata.get('tags', [])
  )
  return cell


def printed(notebook):
  return ''.join(
    output.text
    for cell in notebook.cells
    for output in cell.get('outputs', [])
    if output.output_type == 'stream'
  )


def test_it_is_committed_as_it_was_run(notebook):
  assert PATH.stat().st_size < MOST_BYTES
  cells = [cell for cell in notebook.cells if cell.cell_type == 'code']
  counts = [cell.execution_count for cell in cells]
  assert counts == list(range(1, len(cells) + 1))
  assert '1,000 held-out digits' in printed(notebook)


def test_it_runs_with_fewer_steps(notebook, tmp_path, monkeypatch):
  monkeypatch.setenv('PYTHONPATH', str(ROOT))
  monkeypatch.setenv('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')
  # What is learned in so few steps is not looked at here.
  short = nbformat.from_dict(notebook)
  cell = parameters(short)
  assert cell.source.startswith('STEPS = ')
  cell.source = f'STEPS = {STEPS}'
  client = NotebookClient(
    short, timeout=600, resources={'metadata': {'path': str(tmp_path)}}
  )
  client.execute()
  assert '1,000 held-out digits' in printed(short)
