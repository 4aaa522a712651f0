"""Lists the commands.

python -m experiments
"""

import ast
import pathlib

# In the order in which one comes to need them.
COMMANDS = {
  'Train': (
    *('train', 'evaluate', 'sweep', 'checkpoints', 'import_weights'),
    'example_table',
  ),
  'Look and use': (
    'predict',
    'attention_maps',
    'report',
    'serve',
    'export',
  ),
  'Measure': ('describe', 'preflight', 'benchmark'),
  'Many processes': ('launch.local',),
}


def first_line(command: str) -> str:
  """Returns what a command does, in a line; it is not imported."""
  path = pathlib.Path(__file__).parent / f'{command.replace(".", "/")}.py'
  return ast.get_docstring(
    ast.parse(path.read_text(encoding='utf-8'))
  ).partition('\n')[0]


def main() -> None:
  """Prints the commands."""
  width = max(len(name) for names in COMMANDS.values() for name in names)
  for title, names in COMMANDS.items():
    print(f'{title}:')
    for name in names:
      print(f'  python -m experiments.{name:{width}}  {first_line(name)}')
    print()
  print('Each has --help. Configs are in experiments/configs/.')


if __name__ == '__main__':
  main()
