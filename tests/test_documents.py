"""What README.md, CONTRIBUTING.md and docs/ say, works.

Run: blocks of Python, file by file and in order, in one namespace. They find
`config`, that of digits, and work in a folder of their own, where `runs/digits`
is a small model of random numbers, `seven.png` a digit, and `saved_...` what
`save_pretrained` writes. A block without a language that comes next, in the
same section, is what it printed: the same words, numbers within a tenth, as
training differs by rounding.

Checked, not run: blocks of shell and commands within the text. Of
`python -m experiments.X`, that there is X, its flags, the kinds of their
values, configs and variants, and the keys of `--config.KEY=VALUE`. Of `make`,
`pip install`, `pytest`, `bash`, `sbatch` and `python FILE`, that targets,
extras and files are there. What others make (git, gcloud, kubectl, ...) is
taken as it is; `shell_lines.FOREIGN` lists it.

Neither: other blocks without a language, which show what a command prints, and
Dockerfiles.
"""

import contextlib
import io
import pathlib
import re
import shutil

import cv2
import jax
import ml_collections
import numpy as np
import pytest

from experiments.configs import digits
from experiments.data.dataset import blank_batch
from experiments.datasets.embedded_builder import FILES
from experiments.host.configuration import fill_defaults, write_config
from experiments.runs.experiment import bind, open_checkpoints
from experiments.stepping.train_state import state_shapes
from tests import shell_lines
from tests.documents import DOCUMENTS, ROOT, Block, Document, parse, read
from tests.golden import saved_models

READ = {path.relative_to(ROOT).as_posix(): read(path) for path in DOCUMENTS}
SHELL = ('sh', 'bash')
NOT_RUN = ('', 'dockerfile')
_NUMBER = re.compile(r'(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?')

# What breaks a promise on purpose, see docs/reliability.md.
_TEST = re.compile(r'`(test_\w+\.py)::(test_\w+)`')
# These train something.
SLOW = ('docs/tutorial.md', 'docs/fine_tuning.md')
with_python = pytest.mark.parametrize(
  'name',
  [
    pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
    for name, document in READ.items()
    if any(block.language == 'python' for block in document.blocks)
  ],
)
every = pytest.mark.parametrize('name', list(READ))


def small_digits() -> ml_collections.ConfigDict:
  config = fill_defaults(digits.get_config())
  config.update(batch_size=40, train_steps=3, eval_every=3, checkpoint_every=3)
  config.inputs.image.positions.num_bands = 2
  config.encoder.update(
    num_latents=4,
    latent_channels=16,
    cross_attends=(1,),
    self_attends_per_block=1,
  )
  config.report.seconds = 0.0
  return config


def write_run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
  """Leaves what a run leaves, with random numbers: nothing is compiled."""
  task, _, optimizer = bind(config, None)
  shapes = state_shapes(
    task.model, optimizer, blank_batch(task.data.example), has_ema=False
  )
  rng = np.random.default_rng(0)
  train_state = jax.tree.map(
    lambda x: (0.1 * rng.normal(size=x.shape)).astype(x.dtype), shapes
  )
  workdir.mkdir(parents=True)
  write_config(config, workdir)
  with contextlib.closing(open_checkpoints(config, workdir)) as checkpoints:
    checkpoints.save(
      train_state._replace(step=np.int32(3)), 120, {'eval/accuracy': 0.1}
    )


@pytest.fixture(scope='module')
def shown(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """What the documents take to be there."""
  folder = tmp_path_factory.mktemp('shown')
  write_run(small_digits(), folder / 'runs' / 'digits')
  with np.load(FILES / 'digits.npz') as arrays:
    seven = arrays['image'][arrays['label'] == 7][0]
  cv2.imwrite(str(folder / 'seven.png'), seven)
  for name, place in (
    ('masked_lm', 'saved_language_model'),
    ('text_classification', 'saved_text_classifier'),
  ):
    saved_models.write(saved_models.load(name), folder / place)
  return folder


@pytest.fixture
def in_its_folder(
  shown: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  shutil.copytree(shown, tmp_path, dirs_exist_ok=True)
  monkeypatch.chdir(tmp_path)


def is_output(document: Document, number: int) -> bool:
  """Whether a block is what the one before printed."""
  block, before = document.blocks[number], document.blocks[number - 1]
  return (
    number > 0
    and block.language == ''
    and before.language == 'python'
    and block.section == before.section
  )


def check_printed(expected: str, printed: str) -> None:
  """Words are the same, and numbers nearly."""
  assert _NUMBER.sub('#', printed).split() == _NUMBER.sub('#', expected).split()
  there, here = (
    [float(x.replace(',', '')) for x in _NUMBER.findall(text)]
    for text in (expected, printed)
  )
  np.testing.assert_allclose(here, there, rtol=0.1, atol=0.02)


def run_blocks(document: Document) -> None:
  namespace = {'__name__': '__main__', 'config': digits.get_config()}
  printed = ''
  for number, block in enumerate(document.blocks):
    if block.language == 'python':
      printed = run_block(document, block, namespace)
    elif is_output(document, number):
      check_printed(block.code, printed)


def run_block(document: Document, block: Block, namespace: dict) -> str:
  """Runs it, and returns what it prints."""
  # Lines of a traceback are then those of the file.
  source = '\n' * (block.line - 1) + block.code
  code = compile(source, str(document.path), 'exec')
  printed = io.StringIO()
  with contextlib.redirect_stdout(printed):
    exec(code, namespace)
  return printed.getvalue()


@with_python
def test_python_runs_and_prints_what_it_says(in_its_folder, name):
  run_blocks(READ[name])


@every
def test_commands_exist_and_take_these_arguments(name):
  document = READ[name]
  for block in document.blocks:
    if block.language in SHELL:
      for words in shell_lines.commands(block.code):
        shell_lines.check(words)
  for span in document.spans():
    if span.startswith(('python -m experiments.', 'make ')):
      for words in shell_lines.commands(span):
        shell_lines.check(words)


@every
def test_no_command_hides_in_a_block_that_is_not_looked_at(name):
  for block in READ[name].blocks:
    assert block.language in ('python', *SHELL, *NOT_RUN), block
    if block.language == '':
      assert not re.search(r'^(\$ |python |make |pip )', block.code, re.M), (
        block
      )


@every
def test_links_lead_somewhere(name):
  document = READ[name]
  for link in document.links():
    if re.match(r'[a-z]+:', link):
      continue
    file, _, anchor = link.partition('#')
    target = (document.path.parent / file).resolve() if file else document.path
    assert target.exists(), f'{name} links to {link}.'
    if anchor:
      assert anchor in read(target).anchors(), f'{name} links to {link}.'


def test_the_site_has_every_page():
  pages = re.findall(r': (\w+\.md)$', (ROOT / 'mkdocs.yml').read_text(), re.M)
  found = [name for name in READ if name.startswith('docs/')]
  assert sorted(f'docs/{page}' for page in pages) == sorted(found)


def test_every_room_is_told():
  text = (ROOT / 'CONTRIBUTING.md').read_text()
  told = re.findall(r'^\| `([\w/]+)/` \| ', text, re.M)
  rooms = {
    path.parent.relative_to(ROOT).as_posix()
    for package in ('perceiver_jax', 'experiments')
    for path in (ROOT / package).rglob('__init__.py')
  }
  assert rooms <= set(told)
  assert [room for room in told if not (ROOT / room).is_dir()] == []


def test_the_citation_is_of_this_version():
  versions = [
    re.findall(pattern, (ROOT / name).read_text(), re.M)
    for name, pattern in (
      ('CITATION.cff', r'^version: (\S+)$'),
      ('setup.py', r"^  version='(\S+)',$"),
    )
  ]
  assert versions[0] == versions[1] != []


def test_what_is_wrong_in_a_document_is_found():
  document = parse(
    pathlib.Path('made.md'),
    '# A `b` c\n```python\nprint(1.0)\n```\nso\n\n- x\n\n  ```\n  1.05\n  ```\n'
    '[d](e.md#f) `[g](h)`\n',
  )
  assert [block.code for block in document.blocks] == ['print(1.0)\n', '1.05\n']
  assert is_output(document, 1)
  assert (list(document.links()), document.anchors()) == (
    ['e.md#f'],
    {'a-b-c'},
  )
  run_blocks(document)
  with pytest.raises(AssertionError):
    check_printed('loss 1.05', 'loss 1.5')
  with pytest.raises(AssertionError):
    check_printed('loss 1.05', 'cost 1.05')


DIGITS = 'python -m experiments.train --config=experiments/configs/digits.py'


@pytest.mark.parametrize(
  ('line', 'message'),
  [
    ('python -m experiments.trian', 'trian'),
    (f'{DIGITS} --wrokdir=a', 'no --wrokdir'),
    (f'{DIGITS} --save_to=a', 'no --save_to'),
    (f'{DIGITS} --config.encoder.num_latent=4', 'num_latent'),
    (f'{DIGITS} --config.batch_size=many', 'malformed'),
    (f'{DIGITS}:nothing', 'variants'),
    ('python -m experiments.train --config=experiments/configs/no.py', 'no.py'),
    ('python -m experiments.predict --workdir=a --top=few', 'few'),
    ('make trian', 'trian'),
    ("pip install -e '.[gpu]'", 'gpu'),
    ('bash experiments/launch/no.sh', 'no.sh'),
    ('bash experiments/launch/slurm.sh --nodes=2 -- --wrokdir=a', 'wrokdir'),
    ('python3 -m uv pip install --constraint=no.txt .', 'no.txt'),
    ('rm -r a', 'rm'),
  ],
)
def test_wrong_commands_are_found(line, message):
  with pytest.raises((AssertionError, ValueError), match=message):
    for words in shell_lines.commands(line):
      shell_lines.check(words)


def test_a_line_is_taken_apart():
  code = (
    'A=b make train  # c\nfor x in 1 2; do\n  git a \\\n    b && cd c\ndone\n'
  )
  assert list(shell_lines.commands(code)) == [
    ['make', 'train'],
    ['for', 'x', 'in', '1', '2'],
    ['git', 'a', 'b'],
    ['cd', 'c'],
    ['done'],
  ]


def test_each_promise_names_tests_that_there_are():
  """A row of the tables without a test is no promise."""
  text = (ROOT / 'docs' / 'reliability.md').read_text()
  rows = [
    line
    for line in text.splitlines()
    if line.startswith('| ') and not line.startswith('| what happens')
  ]
  assert len(rows) > 20
  for row in rows:
    named = _TEST.findall(row)
    assert named, row
    for file, test in named:
      source = (ROOT / 'tests' / 'experiments' / file).read_text()
      assert f'\ndef {test}(' in source, f'{file}::{test}'
