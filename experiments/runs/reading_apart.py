"""Files of strangers are read in a helper process, within limits.

Within `reading_apart`, every reader that is marked so (`done_apart`) is called
in a process of its own. It sees nothing of the run: a path, numbers, and what
it answers is arrays.
"""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

from experiments.files.media import (
  decode_audio,
  decode_frames,
  has_video,
  stated,
)
from experiments.host.helper import Helper, Limits, asked
from experiments.host.helper_process import answer
from experiments.modalities.events.files import recorded
from experiments.modalities.images.files import load_formats, read_pixels
from experiments.modalities.points.files import read_shape
from experiments.modalities.series.files import measured

_READERS = {
  read.__name__: read
  for read in (
    read_pixels,
    decode_audio,
    decode_frames,
    has_video,
    stated,
    read_shape,
    measured,
    recorded,
  )
}
# A person waits for the answer, and others for theirs.
SERVED = Limits(seconds=20.0, most_bytes=3 * 2**28, most_answer_bytes=2**28)
# Files of any length that somebody chose.
CHOSEN = Limits(seconds=600.0, most_bytes=2**33, most_answer_bytes=2**32)


@contextlib.contextmanager
def reading_apart(limits: Limits) -> Iterator[None]:
  """Within, files are read by a helper process, in all threads.

  Args:
    limits: of each file.
  """
  with Helper(__name__, limits) as helper, asked(helper):
    yield


def _read(request: Any) -> Any:
  name, (path, *arguments), settings = request
  return _READERS[name](pathlib.Path(path), *arguments, **settings)


if __name__ == '__main__':
  load_formats()
  answer(_read)
