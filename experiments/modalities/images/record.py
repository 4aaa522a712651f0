"""Images as a sense."""

from experiments.data.modality import ColumnKind, Modality
from experiments.files.folder_builder import folder_of
from experiments.modalities.images.attention import OVER_IMAGES
from experiments.modalities.images.classical import GRADIENTS
from experiments.modalities.images.files import EXTENSIONS
from experiments.modalities.images.folder import image_files
from experiments.modalities.images.view import Image, image_html
from perceiver_jax.image_windows import ImageWindows
from perceiver_jax.preprocessors import (
  Conv1x1,
  ConvStem,
  Patches,
  PermutedPixels,
  Pixels,
)

IMAGES = Modality(
  view=Image,
  html=image_html,
  attention=OVER_IMAGES,
  is_small=True,
  preprocessors={
    'pixels': Pixels,
    'permuted_pixels': PermutedPixels,
    'conv1x1': Conv1x1,
    'conv_stem': ConvStem,
    'patches': Patches,
    'image_windows': ImageWindows,
  },
  folders={'image_folder': folder_of(image_files, EXTENSIONS)},
  columns={'images': ColumnKind(image_files, 'image', extensions=EXTENSIONS)},
  classical=GRADIENTS,
)
