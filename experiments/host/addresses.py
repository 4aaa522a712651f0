"""Where a path of a user leads: into this machine, or into a bucket.

`gs://BUCKET/PATH` is Google Cloud Storage, `s3://BUCKET/PATH` is Amazon S3 and
what speaks like it. What a command cannot take is refused in one line, before
anything is opened or made: `pathlib` would take `gs://bucket/run` for a folder
that is called `gs:`.
"""

import importlib.util
import os
import pathlib
import re
from typing import NamedTuple

from experiments.host.buckets import BucketPath


class _Store(NamedTuple):
  """Where buckets are.

  Attributes:
    package: that `fsspec` opens them with, and the extra that brings it.
    copy: command that copies a folder.
  """

  package: str
  copy: str


_STORES = {
  'gs': _Store('gcsfs', 'gcloud storage rsync --recursive {} FOLDER'),
  's3': _Store('s3fs', 'aws s3 sync {} FOLDER'),
}
# With one slash too few, as pathlib leaves it, it is not meant otherwise.
_ADDRESS = re.compile(r'([A-Za-z][A-Za-z0-9+.-]*)://|(gs|s3):/')
_BUCKET = re.compile(r'[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]')


def is_address(text: str | os.PathLike[str]) -> bool:
  """Whether a path is one of another machine, such as 'gs://bucket/run'."""
  return _ADDRESS.match(os.fspath(text)) is not None


def place(text: str | os.PathLike[str], what: str) -> pathlib.Path | BucketPath:
  """Returns the path that a user gave; nothing is opened.

  Args:
    text: of the path.
    what: was given so, such as '--workdir'.

  Raises:
    ValueError: it is an address, but none of a folder in a bucket, or the
      package for such buckets is not installed.
  """
  if not is_address(text):
    return pathlib.Path(text)
  scheme, rest = _parts(text)
  if scheme not in _STORES:
    raise ValueError(
      f'{what} {os.fspath(text)}: of addresses, gs://BUCKET/PATH and '
      's3://BUCKET/PATH are taken alone. Or name a path of this machine.'
    )
  bucket, _, below = rest.partition('/')
  if not _BUCKET.fullmatch(bucket) or not below.strip('/'):
    raise ValueError(
      f'{what} {os.fspath(text)}: expected is {scheme}://BUCKET/PATH, with a '
      'name of a bucket (3 or more of a-z, 0-9, ".", "_" and "-") and a folder '
      'in it.'
    )
  package = _STORES[scheme].package
  if importlib.util.find_spec(package) is None:
    raise ValueError(
      f'{what} {os.fspath(text)}: this needs the package {package}: pip '
      "install 'perceiver-haiku[buckets]', or pip install -e '.[buckets]' in "
      'the project.'
    )
  return BucketPath(f'{scheme}://{rest}')


def local(text: str | os.PathLike[str], what: str, why: str) -> pathlib.Path:
  """Returns the path that a user gave for what must lie on this machine.

  Args:
    text: of the path.
    what: was given so, such as '--output'.
    why: it must, such as 'the file is changed in place'.

  Raises:
    ValueError: it is an address, such as of a bucket; says how to copy from
      there.
  """
  if not is_address(text):
    return pathlib.Path(text)
  scheme, rest = _parts(text)
  remedy = 'Name a path of this machine.'
  if scheme in _STORES:
    command = _STORES[scheme].copy.format(f'{scheme}://{rest}')
    remedy = f'Copy it (`{command}`) or mount the bucket, and name that folder.'
  raise ValueError(
    f'{what} {os.fspath(text)}: this is an address, and {why}: it must lie on '
    f'a disk of this machine. {remedy}'
  )


def _parts(text: str | os.PathLike[str]) -> tuple[str, str]:
  """The scheme of an address, and what follows its slashes."""
  text = os.fspath(text)
  found = _ADDRESS.match(text)
  return (found[1] or found[2]).lower(), text[found.end() :].lstrip('/')
