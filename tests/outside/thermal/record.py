"""The sense."""

from experiments.data.modality import Modality
from experiments.files.folder_builder import folder_of
from tests.outside.thermal.attention import OVER_THERMAL
from tests.outside.thermal.folder import EXTENSIONS, thermal_files
from tests.outside.thermal.preprocessor import WarmColumns
from tests.outside.thermal.view import Thermal, thermal_html

THERMAL = Modality(
  view=Thermal,
  html=thermal_html,
  attention=OVER_THERMAL,
  is_small=True,
  preprocessors={'warm_columns': WarmColumns},
  folders={'thermal_folder': folder_of(thermal_files, EXTENSIONS)},
)
