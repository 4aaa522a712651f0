"""Classical features of a text: its n-grams, which the model counts itself."""

from experiments.data.classical import Classical, words
from experiments.modalities.text.view import Text


def _characters(view: Text) -> str:
  return view.data.decode('utf-8', errors='replace')


NGRAMS = Classical(
  'n-grams of characters, logistic regression', _characters, words
)
