"""Text as UTF-8 bytes (Perceiver IO, section 4.1)."""

import dataclasses

import numpy as np

# The special tokens of the released models; a byte is its value plus 6.
SPECIAL_TOKENS = ('[PAD]', '[BOS]', '[EOS]', '[MASK]', '[CLS]', '[SEP]')
PAD, BOS, EOS, MASK, CLS, SEP = range(len(SPECIAL_TOKENS))


@dataclasses.dataclass(frozen=True)
class ByteTokenizer:
  """Text to tokens and back: UTF-8 bytes (Perceiver IO, section 4.1).

  Nothing is learned or looked up.
  """

  @property
  def vocab_size(self) -> int:
    """V: 256 bytes and the special tokens, 262."""
    return 256 + len(SPECIAL_TOKENS)

  def encode(self, text: str | bytes) -> np.ndarray:
    """Returns the text's UTF-8 bytes as tokens, `[bytes]` int32."""
    data = text.encode('utf-8') if isinstance(text, str) else text
    return np.frombuffer(data, np.uint8).astype(np.int32) + len(SPECIAL_TOKENS)

  def decode(self, tokens: np.ndarray) -> str:
    """Returns the text of tokens `[n]`.

    Special tokens are left out; bytes that are not UTF-8 become U+FFFD.

    Raises:
      ValueError: a token is not in the vocabulary.
    """
    tokens = np.asarray(tokens)
    if tokens.size and (tokens.min() < 0 or tokens.max() >= self.vocab_size):
      raise ValueError(
        f'Tokens must be from 0 to {self.vocab_size - 1}, got '
        f'{tokens.min()} to {tokens.max()}.'
      )
    data = tokens[tokens >= len(SPECIAL_TOKENS)] - len(SPECIAL_TOKENS)
    return data.astype(np.uint8).tobytes().decode('utf-8', errors='replace')

  def encode_batch(
    self, texts: list[str], length: int
  ) -> tuple[np.ndarray, np.ndarray]:
    """Encodes texts of different lengths.

    Args:
      texts: B of them.
      length: tokens of each; longer texts are cut, shorter ones padded.

    Returns:
      Tokens `[B, length]` int32 and mask `[B, length]` bool, False for padding.
    """
    tokens = np.full((len(texts), length), PAD, np.int32)
    mask = np.zeros((len(texts), length), np.bool_)
    for i, text in enumerate(texts):
      encoded = self.encode(text)[:length]
      tokens[i, : len(encoded)] = encoded
      mask[i, : len(encoded)] = True
    return tokens, mask
