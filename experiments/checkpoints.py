"""Lists the checkpoints of a run; with --verify, reads all their files.

  python -m experiments.checkpoints --workdir=runs/digits
  python -m experiments.checkpoints --workdir=runs/digits --verify

A checkpoint has a checksum of each of its files, which are compared when it is
restored, or here. Those of gs:// are kept by the store itself, and those that
were written by earlier releases have none.
"""

from typing import Any

from absl import flags

from experiments.checkpointing.listing import list_checkpoints
from experiments.host import command_line
from experiments.host.output import print_result

_VERIFY = flags.DEFINE_bool(
  'verify', False, 'Read all files, and compare them with their checksums.'
)


def render(result: dict[str, Any]) -> str:
  """Returns a line for each checkpoint, and one for each damaged file."""
  rows = [
    (
      each['name'],
      f'{each["bytes"] / 1e6:,.2f} MB',
      each['written'] or '',
      each['state'],
      ', '.join(f'{k} {v:.4g}' for k, v in (each['metrics'] or {}).items()),
    )
    for each in result['checkpoints']
  ]
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  lines = []
  for row, each in zip(rows, result['checkpoints'], strict=True):
    cells = [
      cell.rjust(width) if i == 1 else cell.ljust(width)
      for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    lines.append('  '.join(cells).rstrip())
    lines += [f'  {damage}' for damage in each['damaged']]
  return '\n'.join(lines) or 'No checkpoint yet.'


def main() -> None:
  """Lists the checkpoints of --workdir."""
  workdir = command_line.workdir()
  found = list_checkpoints(workdir, verify=_VERIFY.value)
  print_result({'workdir': str(workdir), 'checkpoints': found}, render)
  damaged = [each['name'] for each in found if each['damaged']]
  if damaged:
    raise OSError(
      f'Of step {", ".join(damaged)} files in {workdir / "checkpoints"} are '
      'damaged. train and evaluate take the newest, or the best, that is whole.'
    )


if __name__ == '__main__':
  command_line.run(main)
