"""Measurements over time as a sense. Its patches are those of images."""

from experiments.data.modality import Modality
from experiments.modalities.series.attention import OVER_SERIES
from experiments.modalities.series.folder import series_folder
from experiments.modalities.series.view import Series, series_html

SERIES = Modality(
  view=Series,
  html=series_html,
  attention=OVER_SERIES,
  folders={'series_folder': series_folder},
)
