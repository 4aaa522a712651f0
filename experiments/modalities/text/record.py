"""Text as a sense."""

from experiments.data.modality import ColumnKind, Modality
from experiments.modalities.text.attention import OVER_TEXTS
from experiments.modalities.text.classical import NGRAMS
from experiments.modalities.text.files import EXTENSIONS
from experiments.modalities.text.folder import text_files, text_folder
from experiments.modalities.text.view import Text, text_html
from perceiver_jax.ngram_embedding import NgramEmbedding
from perceiver_jax.token_embedding import TokenEmbedding

TEXTS = Modality(
  view=Text,
  html=text_html,
  attention=OVER_TEXTS,
  preprocessors={
    'token_embedding': TokenEmbedding,
    'ngrams': NgramEmbedding,
  },
  folders={'text_folder': text_folder},
  columns={
    'text': ColumnKind(
      text_files, 'tokens', mask='mask', extensions=EXTENSIONS, is_text=True
    )
  },
  classical=NGRAMS,
)
