"""The sense."""

from experiments.data.modality import Modality
from tests.outside.thermal.attention import OVER_THERMAL
from tests.outside.thermal.folder import thermal_folder
from tests.outside.thermal.preprocessor import WarmColumns
from tests.outside.thermal.view import Thermal, thermal_html

THERMAL = Modality(
  view=Thermal,
  html=thermal_html,
  attention=OVER_THERMAL,
  is_small=True,
  preprocessors={'warm_columns': WarmColumns},
  folders={'thermal_folder': thermal_folder},
)
