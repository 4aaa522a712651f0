"""Events as a sense: each is an element, at a time of its own."""

from experiments.data.modality import ColumnKind, Modality
from experiments.files.folder_builder import folder_of
from experiments.modalities.events.attention import OVER_EVENTS
from experiments.modalities.events.classical import STATISTICS
from experiments.modalities.events.files import EXTENSIONS
from experiments.modalities.events.folder import events_files
from experiments.modalities.events.view import Events, events_html
from perceiver_jax.event_embedding import EventEmbedding

EVENTS = Modality(
  view=Events,
  html=events_html,
  attention=OVER_EVENTS,
  preprocessors={'event_embedding': EventEmbedding},
  folders={'events_folder': folder_of(events_files, EXTENSIONS)},
  columns={'events': ColumnKind(events_files, 'events', extensions=EXTENSIONS)},
  classical=STATISTICS,
)
