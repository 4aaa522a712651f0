"""What a request brings: files in a private folder, a text, or a form."""

import contextlib
import pathlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple

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


# What browsers send; the second where there need not be a file.
_FORMS = ('multipart/form-data', 'application/x-www-form-urlencoded')
# Of runs without a form, and of those that have one.
_PART = {False: 'file', True: 'value for each cell'}
_JSON = {False: '{"text": "..."}', True: '{"cells": {"NAME": ...}}'}


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
    cells: of a form that was filled in, by name; paths of files among them.
      None of other inputs.
  """

  files: Files
  paths: Sequence[pathlib.Path]
  names: Sequence[str]
  text: bytes | None
  cells: Mapping[str, Any] | None = None

  @property
  def name(self) -> str:
    """What to call the input."""
    if self.cells is not None:
      return 'row'
    return ' → '.join(self.names) if self.text is None else 'text'

  def read(self) -> Sequence[Example]:
    """Returns the examples that the input comes to.

    Raises:
      Unreadable: it is damaged, or no input of the model.
    """
    try:
      if self.cells is not None:
        return self.files.form.read(self.cells)
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
      `text`; or JSON {"text": ...}. Where the run has a form, its cells by
      their names, or JSON {"cells": {...}} of those that are no files.
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
  is_form = kind.lower() in _FORMS[: 1 + _has_form(limits)]
  if not is_form and not is_json:
    raise HTTPException(
      415,
      f'Send multipart/form-data with a {_PART[_has_form(limits)]}, or JSON: '
      f'{_JSON[_has_form(limits)]}.',
    )
  most_text = min(limits.most_bytes, _MOST_TEXT_BYTES)
  most = most_text if is_json else limits.most_bytes
  receive = Counted(request.receive, most, sending.came)
  await receive.check(request.headers.get('content-length', ''))
  request = Request(request.scope, receive)
  if is_json and _has_form(limits):
    return _cells(await _of_json(request, 'cells', dict), (), (), limits)
  if is_json:
    return _text(await _of_json(request, 'text', str), limits)
  cells = len(limits.files.form.cells) if _has_form(limits) else 0
  form = request.form(
    max_files=_MOST_PARTS + cells,
    max_fields=_MOST_PARTS + cells,
    max_part_size=most_text,
  )
  async with form as parts:
    if cells:
      return await _from_cells(parts, limits, folder)
    return await _from_form(parts, limits, folder)


async def _of_json(request: Request, name: str, kind: type) -> Any:
  try:
    found = (await request.json())[name]
  except (ValueError, TypeError, KeyError, RecursionError):
    found = None
  if not isinstance(found, kind):
    raise HTTPException(
      400, f'Expected JSON with a {name}: {_JSON[name == "cells"]}.'
    )
  return found


async def _from_cells(
  parts: FormData, limits: Limits, folder: pathlib.Path
) -> Upload:
  """Takes a form that was filled in; cells that are empty are left out."""
  cells: dict[str, Any] = {}
  paths, names = [], []
  for name, part in parts.multi_items():
    if isinstance(part, str):
      cells[name] = part
      continue
    if not part.filename and not part.size:
      continue
    shown = _shown(part.filename or '')
    if not part.size:
      raise HTTPException(422, f'{shown} is empty.')
    names.append(shown)
    # What has no ending of ours is refused below, by the cell's own.
    paths.append(folder / f'upload-{len(paths)}{_suffix(shown)}')
    await _write(part, paths[-1])
    cells[name] = paths[-1]
  return _cells(cells, paths, names, limits)


def _cells(
  cells: Mapping[str, Any],
  paths: Sequence[pathlib.Path],
  names: Sequence[str],
  limits: Limits,
) -> Upload:
  known = {cell.name: cell for cell in limits.files.form.cells}
  for name, value in cells.items():
    if name not in known:
      raise HTTPException(
        400, f'There is no cell {name!r}: they are {", ".join(known)}.'
      )
    cell, is_file = known[name], isinstance(value, pathlib.Path)
    if is_file and value.suffix not in cell.extensions:
      wanted = ', '.join(cell.extensions) or 'no file'
      raise HTTPException(415, f'{name} is {wanted}.')
    if not is_file and cell.extensions and value not in ('', None):
      raise HTTPException(415, f'{name} is a file: send it as one.')
  given = {name: x for name, x in cells.items() if x not in ('', None)}
  if not given:
    raise HTTPException(400, 'All cells are empty: fill in at least one.')
  return Upload(limits.files, paths, names, None, given)


async def _write(part: UploadFile, path: pathlib.Path) -> None:
  with path.open('wb') as file:
    await run_in_threadpool(shutil.copyfileobj, part.file, file)


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


def _has_form(limits: Limits) -> bool:
  return limits.files.form is not None


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
    await _write(part, path)
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
