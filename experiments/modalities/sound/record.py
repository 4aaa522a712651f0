"""Sound as a sense."""

from experiments.data.modality import ColumnKind, Modality
from experiments.files.folder_builder import folder_of
from experiments.files.media import SOUND_EXTENSIONS
from experiments.modalities.sound.attention import OVER_SOUNDS
from experiments.modalities.sound.classical import CEPSTRAL
from experiments.modalities.sound.folder import sound_files
from experiments.modalities.sound.view import Sound, sound_html
from perceiver_jax.mel_frames import MelFrames
from perceiver_jax.preprocessors import (
  AudioPatches,
  MelSpectrogram,
)

SOUNDS = Modality(
  view=Sound,
  html=sound_html,
  attention=OVER_SOUNDS,
  preprocessors={
    'audio_patches': AudioPatches,
    'mel_spectrogram': MelSpectrogram,
    'mel_frames': MelFrames,
  },
  folders={'sound_folder': folder_of(sound_files, SOUND_EXTENSIONS)},
  columns={
    'audio': ColumnKind(sound_files, 'audio', extensions=SOUND_EXTENSIONS)
  },
  classical=CEPSTRAL,
)
