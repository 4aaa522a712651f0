"""Files of text: UTF-8."""

import pathlib

EXTENSIONS = ('.txt',)


def read_text(path: pathlib.Path) -> bytes:
  """Reads UTF-8 without the white space around it.

  Raises:
    ValueError: the file is empty or no UTF-8; the message names it.
  """
  return clean_text(path.read_bytes(), str(path))


def clean_text(data: bytes, place: str) -> bytes:
  """Returns UTF-8 without the white space, and the mark, around it.

  Args:
    data: of a file, or of a part of it.
    place: where it stands, for messages.

  Raises:
    ValueError: it is empty, no UTF-8, or has bytes of zero.
  """
  try:
    text = data.decode('utf-8-sig').strip()
  except UnicodeDecodeError as error:
    raise ValueError(
      f'{place} is no UTF-8 ({error}). Convert it, or take it out.'
    ) from error
  if '\0' in text:
    raise ValueError(
      f'{place} has bytes of zero: it is UTF-16, or no text. Convert it to '
      'UTF-8, or take it out.'
    )
  if not text:
    raise ValueError(f'{place} is empty. Write something, or take it out.')
  return text.encode()
