"""Commands that documents and docstrings show are read as they stand."""

import ast
import re

from tests import shell_lines
from tests.documents import DOCUMENTS, ROOT, read
from tests.experiments.test_fuzz import run_all

_MODULE = 'python -m experiments.'
# Flags alone, said of the command above them.
_FLAG = re.compile(r'--config\.[\w.]+=[^\s`]+')


def shown():
  """Yields where a command stands, and its words."""
  for path in DOCUMENTS:
    document = read(path)
    texts = [block.code for block in document.blocks]
    texts += [span for span in document.spans() if span.startswith(_MODULE)]
    for text in texts:
      yield from found(document.name, text)
  for path in sorted((ROOT / 'experiments').rglob('*.py')):
    text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
    commands = re.findall(
      rf'^  {_MODULE}[^\\\n]*(?:\\\n[^\\\n]*)*$', text, re.M
    )
    for command in commands:
      yield from found(path.relative_to(ROOT).as_posix(), command)


def found(name, text):
  if _MODULE not in text:
    return
  for words in shell_lines.commands(text):
    if words[:2] == ['python', '-m'] and words[2].startswith('experiments.'):
      yield name, words


def flags_of(words):
  """The flags that every command reads; None without a config that is there."""
  flags = [word for word in words if word.startswith('--config')]
  if not flags or not (ROOT / file_of(flags[0])).is_file():
    return None
  return flags


def file_of(flag):
  return flag.partition('=')[2].partition(':')[0]


def test_flags_of_configs_are_read_as_they_stand():
  places = {
    tuple(flags): f'{name}: {" ".join(words)}'
    for name, words in shown()
    if (flags := flags_of(words)) is not None
  }
  assert len(places) > 20
  assert any(len(flags) > 1 for flags in places)
  cases = [
    ['parse', [flag.replace('...', 'x') for flag in flags]] for flags in places
  ]
  outcomes = run_all(cases)
  assert [
    f'{place}: {errors}'
    for place, (code, _, errors) in zip(places.values(), outcomes, strict=True)
    if code
  ] == []


OPEN = {
  'audio': (
    *('sample_rate=16000', 'num_samples=16384', 'stddev=0.1'),
    "classes=('a','b')",
  ),
  'image': ('image_size=32', 'mean=(0.5,0.5,0.5)', "classes=('a','b')"),
  'video': ('frame_rate=8', 'image_size=32', 'stddev=(1,1,1)'),
  'mesh': ('num_points=256',),
  'text': ('length=128', "classes=('a','b')"),
  'timeseries': ('num_steps=256', "channels=('x','y')", 'num_channels=2'),
}


def test_what_a_folder_leaves_open_can_be_set():
  cases = [
    ['parse', [f'--config=experiments/configs/folder.py:{variant}', flag]]
    for variant, settings in OPEN.items()
    for flag in (f'--config.data.{setting}' for setting in settings)
  ]
  outcomes = run_all([*cases, ['parse', [*cases[0][1], f'{cases[0][1][1]}Hz']]])
  *right, (code, _, errors) = outcomes
  assert [end[2] for end in right] == [''] * len(cases)
  assert code == 2 and 'sample_rate' in errors


def test_a_flag_told_by_the_way_is_among_them():
  text = (ROOT / 'docs' / 'your_data.md').read_text(encoding='utf-8')
  told = {flag.rpartition('.')[2] for flag in _FLAG.findall(text)}
  assert told & set(OPEN['audio'])
