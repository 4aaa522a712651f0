"""What a request brings: files in a private folder, or a text."""

import contextlib
import pathlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from experiments.data.dataset import Example, Files
from experiments.serving.pace import Places, Sending
from experiments.serving.sizes import Counted

# Of a text, which is kept in memory; models take less.
_MOST_TEXT_BYTES = 1_000_000
# Beyond what is used, for a message that says how many are.
_MOST_PARTS = 8
_MOST_NAME = 120


class Limits(NamedTuple):
  """What a request may bring.

  Attributes:
    files: kinds of files, and how many there are in one input.
    most_bytes: of them together.
  """

  files: Files
  most_bytes: int


class Unreadable(Exception):
  """What was sent cannot be an input of the model; the message says why."""


class Upload(NamedTuple):
  """An input that was sent.

  Attributes:
    files: kinds of files of the run.
    paths: where they are, under names of our own; () of a text.
    names: as the sender calls the files, without folders.
    text: UTF-8; None of files.
  """

  files: Files
  paths: Sequence[pathlib.Path]
  names: Sequence[str]
  text: bytes | None

  @property
  def name(self) -> str:
    """What to call the input."""
    return ' → '.join(self.names) if self.text is None else 'text'

  def read(self) -> Sequence[Example]:
    """Returns the examples that the input comes to.

    Raises:
      Unreadable: it is damaged, or no input of the model.
    """
    try:
      if self.text is not None:
        return self.files.from_text(self.text)
      return list(self.files.read(*self.paths))
    except (ValueError, OSError) as error:
      raise Unreadable(self._told(str(error))) from error

  def _told(self, message: str) -> str:
    """Returns a message with the sender's names, not those of our folder."""
    for path, name in zip(self.paths, self.names, strict=True):
      message = message.replace(str(path), name).replace(path.name, name)
    return message


@contextlib.asynccontextmanager
async def received(
  request: Request, limits: Limits, places: Places
) -> AsyncIterator[Upload]:
  """Takes in what a request brings; its files are deleted afterwards.

  Args:
    request: multipart/form-data with a `file` for each file of an input, or a
      `text`; or JSON {"text": ...}.
    limits: of what it may bring.
    places: of which it has one as long as it is sent.

  Raises:
    HTTPException: it brings something else, too much, or too slowly.
  """
  with tempfile.TemporaryDirectory(prefix='perceiver-upload-') as folder:
    try:
      async with places.one() as sending:
        upload = await _take(request, limits, sending, pathlib.Path(folder))
    except ClientDisconnect:
      raise HTTPException(400, 'The request broke off.') from None
    yield upload


async def _take(
  request: Request, limits: Limits, sending: Sending, folder: pathlib.Path
) -> Upload:
  kind = request.headers.get('content-type', '').partition(';')[0].strip()
  is_json = kind.lower() == 'application/json'
  if kind.lower() != 'multipart/form-data' and not is_json:
    raise HTTPException(
      415, 'Send multipart/form-data with a file, or JSON: {"text": "..."}.'
    )
  most_text = min(limits.most_bytes, _MOST_TEXT_BYTES)
  most = most_text if is_json else limits.most_bytes
  receive = Counted(request.receive, most, sending.came)
  await receive.check(request.headers.get('content-length', ''))
  request = Request(request.scope, receive)
  if is_json:
    return _text(await _json_text(request), limits)
  form = request.form(
    max_files=_MOST_PARTS, max_fields=_MOST_PARTS, max_part_size=most_text
  )
  async with form as parts:
    return await _from_form(parts, limits, folder)


async def _json_text(request: Request) -> str:
  try:
    text = (await request.json())['text']
  except (ValueError, TypeError, KeyError, RecursionError):
    text = None
  if not isinstance(text, str):
    raise HTTPException(400, 'Expected JSON with a text: {"text": "..."}.')
  return text


async def _from_form(
  parts: FormData, limits: Limits, folder: pathlib.Path
) -> Upload:
  # A form without a chosen file sends one without name and content.
  sent = [
    part
    for part in parts.getlist('file')
    if isinstance(part, str) or part.filename or part.size
  ]
  text = parts.get('text') or None
  if any(isinstance(part, str) for part in sent) or isinstance(
    text, UploadFile
  ):
    raise HTTPException(400, "Send a 'file' as a file, a 'text' as a text.")
  if bool(sent) == bool(text):
    raise HTTPException(400, "Send either a 'file' or a 'text'.")
  if text:
    return _text(text, limits)
  return await _store(sent, limits, folder)


def _text(text: str, limits: Limits) -> Upload:
  if limits.files.from_text is None:
    raise HTTPException(
      415, f'This run takes no text: it reads {_kinds(limits.files)}.'
    )
  # A lone half of a surrogate pair, which JSON can hold, is no text.
  data = text.encode('utf-8', errors='replace')
  return Upload(limits.files, (), (), data)


async def _store(
  sent: Sequence[UploadFile], limits: Limits, folder: pathlib.Path
) -> Upload:
  """Writes files under names of our own; of the sender's only the ending."""
  names = [_shown(part.filename or '') for part in sent]
  for name in names:
    if _suffix(name) not in limits.files.extensions:
      raise HTTPException(
        415, f'{name}: this run reads {_kinds(limits.files)}.'
      )
  if len(sent) != limits.files.count:
    raise HTTPException(
      400,
      f'One input of this run is {limits.files.count} file(s), got '
      f'{len(sent)}: {", ".join(names)}.',
    )
  for part, name in zip(sent, names, strict=True):
    if not part.size:
      raise HTTPException(422, f'{name} is empty.')
  paths = [
    folder / f'upload-{i}{_suffix(name)}' for i, name in enumerate(names)
  ]
  for part, path in zip(sent, paths, strict=True):
    with path.open('wb') as file:
      await run_in_threadpool(shutil.copyfileobj, part.file, file)
  return Upload(limits.files, paths, names, None)


def _shown(filename: str) -> str:
  """Returns a sender's name of a file, without folders and odd characters."""
  name = filename.replace('\\', '/').rpartition('/')[2]
  name = ''.join(each if each.isprintable() else '?' for each in name)
  return name[-_MOST_NAME:] or '(no name)'


def _suffix(name: str) -> str:
  return pathlib.PurePosixPath(name).suffix.lower()


def _kinds(files: Files) -> str:
  return ', '.join(files.extensions)
