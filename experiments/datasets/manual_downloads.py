"""What users download by hand, and where it is looked for."""

import pathlib
from collections.abc import Callable

import tensorflow_datasets as tfds


def manual_dir(
  builder: tfds.core.DatasetBuilder,
  title: str,
  needed: str,
  remedy: Callable[[pathlib.Path], str],
  *,
  is_there: Callable[[pathlib.Path], bool] = pathlib.Path.is_dir,
) -> pathlib.Path | None:
  """Returns the folder to prepare a data set from; None if it is prepared.

  That is `downloads/manual`, beside all prepared data sets.

  Args:
    builder: of the data set.
    title: of the data set, for the message.
    needed: what has to be in the folder.
    remedy: takes the path of what is needed; returns where to get it.
    is_there: whether a path is what is needed.

  Raises:
    FileNotFoundError: neither is there; says where to get it and where to put
      it.
  """
  prepared = pathlib.Path(builder.data_dir)
  if prepared.exists():
    return None
  # Above NAME/VERSION or NAME/CONFIG/VERSION.
  root = prepared.parents[builder.info.full_name.count('/')]
  manual = root / 'downloads' / 'manual'
  if not is_there(manual / needed):
    raise FileNotFoundError(
      f'{title} is not prepared in {prepared}. {remedy(manual / needed)}'
    )
  return manual
