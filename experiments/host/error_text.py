"""What went wrong, in one line."""

from collections.abc import Callable

_MOST_CHARACTERS = 300


def one_line(
  error: BaseException, clean: Callable[[str], str] = lambda text: text
) -> str:
  """Returns an error as one line, at most 300 characters of its message.

  Errors that are not a user's, unlike ValueError and OSError, say their kind.

  Args:
    error: of any kind.
    clean: takes out of the message what says nothing to users.
  """
  text = clean(' '.join(str(error).split())).rstrip('.') or 'no more is known'
  if not isinstance(error, ValueError | OSError):
    text = f'{type(error).__name__}: {text}'
  if len(text) > _MOST_CHARACTERS:
    text = f'{text[:_MOST_CHARACTERS]} ...'
  return text
