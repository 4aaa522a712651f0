"""Where a path of a user leads: into this machine, or into a bucket.

What a command cannot take is refused in one line, before anything is opened or
made: `pathlib` would take `gs://bucket/run` for a folder that is called `gs:`.
"""

import os
import pathlib
import re

# By scheme: how one copies a folder from or to there.
_COPIES = {
  'gs': 'gcloud storage rsync --recursive {source} {target}',
  's3': 'aws s3 sync {source} {target}',
}
# With one slash too few, as pathlib leaves it, it is not meant otherwise.
_ADDRESS = re.compile(r'([A-Za-z][A-Za-z0-9+.-]*)://|(gs|s3):/')


def is_address(text: str | os.PathLike[str]) -> bool:
  """Whether a path is one of another machine, such as 'gs://bucket/run'."""
  return _ADDRESS.match(os.fspath(text)) is not None


def local(text: str | os.PathLike[str], what: str) -> pathlib.Path:
  """Returns the path that a user gave for what must lie on this machine.

  Args:
    text: of the path.
    what: was given so, such as '--data_dir'.

  Raises:
    ValueError: it is an address, such as of a bucket; says how to copy from
      there.
  """
  text = os.fspath(text)
  found = _ADDRESS.match(text)
  if found is None:
    return pathlib.Path(text)
  scheme = (found[1] or found[2]).lower()
  remedy = 'Name a path of this machine.'
  if scheme in _COPIES:
    source = f'{scheme}://{text[found.end() :].lstrip("/")}'
    command = _COPIES[scheme].format(source=source, target='FOLDER')
    remedy = f'Copy it (`{command}`) or mount the bucket, and name that folder.'
  raise ValueError(
    f'{what} {text}: this is an address, and what is named here must lie on a '
    f'disk of this machine. {remedy}'
  )
