"""Text as a sense."""

from experiments.data.modality import Modality
from experiments.modalities.text.attention import OVER_TEXTS
from experiments.modalities.text.classical import NGRAMS
from experiments.modalities.text.folder import text_folder
from experiments.modalities.text.view import Text, text_html
from perceiver_jax.token_embedding import TokenEmbedding

TEXTS = Modality(
  view=Text,
  html=text_html,
  attention=OVER_TEXTS,
  preprocessors={'token_embedding': TokenEmbedding},
  folders={'text_folder': text_folder},
  classical=NGRAMS,
)
