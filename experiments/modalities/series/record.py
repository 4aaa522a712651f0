"""Measurements over time as a sense. Its patches are those of images."""

from experiments.data.modality import Modality
from experiments.modalities.series.attention import OVER_SERIES
from experiments.modalities.series.classical import STATISTICS
from experiments.modalities.series.folder import series_folder
from experiments.modalities.series.view import Series, series_html
from perceiver_jax.series_windows import SeriesWindows

SERIES = Modality(
  view=Series,
  html=series_html,
  attention=OVER_SERIES,
  preprocessors={'series_windows': SeriesWindows},
  folders={'series_folder': series_folder},
  classical=STATISTICS,
)
