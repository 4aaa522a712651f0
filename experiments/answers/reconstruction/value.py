"""What an autoencoder makes of its inputs."""

from collections.abc import Mapping
from typing import NamedTuple

from experiments.answers.classes.value import Classes
from experiments.data.modality import View


class Reconstruction(NamedTuple):
  """What an autoencoder makes of its inputs.

  Attributes:
    original: views of the inputs, by modality.
    reconstruction: the same as the model made them.
    decibels: peak signal-to-noise ratio of each modality, see
      `metrics.reconstruction_psnr`.
    classes: of the whole, where the model tells them.
  """

  original: Mapping[str, View]
  reconstruction: Mapping[str, View]
  decibels: Mapping[str, float]
  classes: Classes | None = None
