"""Parts of recordings that are longer than one input of a model."""

import numpy as np

# More are not looked at: then they are spread evenly.
MOST_WINDOWS = 64


def window_starts(length: int, size: int, hop: int) -> list[int]:
  """Returns where the windows of a recording begin.

  They are `hop` apart, the last ends with the recording. Of more than 64, 64
  that are spread evenly are left.

  Args:
    length: of the recording, at least 1; below `size` the window is one, at 0.
    size: of a window.
    hop: from one start to the next, at least 1.
  """
  last = max(0, length - size)
  starts = [*range(0, last, hop), last]
  if len(starts) > MOST_WINDOWS:
    chosen = np.linspace(0, len(starts) - 1, MOST_WINDOWS).round().astype(int)
    starts = [starts[i] for i in chosen]
  return starts
