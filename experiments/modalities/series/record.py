"""Measurements over time as a sense. Its patches are those of images."""

from experiments.data.modality import ColumnKind, Modality
from experiments.files.folder_builder import folder_of
from experiments.modalities.series.attention import OVER_SERIES
from experiments.modalities.series.classical import STATISTICS
from experiments.modalities.series.files import EXTENSIONS
from experiments.modalities.series.folder import series_files
from experiments.modalities.series.view import Series, series_html
from perceiver_jax.series_windows import RelativeWindows, SeriesWindows

SERIES = Modality(
  view=Series,
  html=series_html,
  attention=OVER_SERIES,
  preprocessors={
    'series_windows': SeriesWindows,
    'relative_windows': RelativeWindows,
  },
  folders={'series_folder': folder_of(series_files, EXTENSIONS)},
  columns={
    'series': ColumnKind(
      series_files, 'series', mask='input_mask', extensions=EXTENSIONS
    )
  },
  classical=STATISTICS,
)
