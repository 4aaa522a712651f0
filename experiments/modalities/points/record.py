"""Points and meshes as a sense."""

from experiments.data.modality import ColumnKind, Modality
from experiments.files.folder_builder import folder_of
from experiments.modalities.points.attention import OVER_POINTS
from experiments.modalities.points.classical import HISTOGRAMS
from experiments.modalities.points.files import EXTENSIONS
from experiments.modalities.points.folder import point_files
from experiments.modalities.points.view import Points, points_html
from perceiver_jax import preprocessors
from perceiver_jax.point_neighbourhoods import PointNeighbourhoods

POINTS = Modality(
  view=Points,
  html=points_html,
  attention=OVER_POINTS,
  is_small=True,
  preprocessors={
    'points': preprocessors.Points,
    'point_neighbourhoods': PointNeighbourhoods,
  },
  folders={'point_folder': folder_of(point_files, EXTENSIONS)},
  columns={'points': ColumnKind(point_files, 'points', extensions=EXTENSIONS)},
  classical=HISTOGRAMS,
)
