"""Maps of attention that are made up, over every kind of input."""

import numpy as np

from experiments.attention.maps import AttentionMaps, coverage, entropy
from experiments.data.modality import Attended
from experiments.modalities.events.view import Events
from experiments.modalities.images.view import Image
from experiments.modalities.points.view import Points
from experiments.modalities.series.view import Series
from experiments.modalities.sound.view import Sound
from experiments.modalities.text.view import Text
from experiments.modalities.video.view import Video

TEXT = 'Grüße </script> & “x”\n'


def rng(seed=0):
  return np.random.default_rng(seed)


def view_of(kind):
  """Returns an input and the cells of its maps."""
  pixels = rng(1).integers(0, 256, (6, 12, 8, 3)).astype(np.uint8)
  match kind:
    case 'image':
      return Image(pixels[0]), (12, 8)
    case 'video':
      return Video(pixels, 25.0), (3, 6, 4)
    case 'frames':  # One map for both.
      return Video(pixels[:2], 1.0), (1, 6, 4)
    case 'sound':
      return Sound(np.sin(np.arange(800) / 9, dtype=np.float32), 8000.0), (20,)
    case 'spectrogram':
      return Sound(np.zeros(800, np.float32), 8000.0), (10, 6)
    case 'series':
      return Series(rng(2).normal(size=(50, 3)).astype(np.float32), 50.0), (50,)
    case 'events':
      time = np.cumsum(rng(6).uniform(0.1, 9.0, 40))
      channel = rng(7).integers(0, 3, 40)
      return Events(time, channel, np.sin(time), ('a', 'b', 'c')), (40,)
    case 'points':
      return Points(rng(3).normal(size=(40, 3)).astype(np.float32)), (40,)
    case 'text':
      return Text(TEXT.encode()), (len(TEXT),)
  raise ValueError(kind)


def modality_of(kind, weights):
  """Returns a modality of a kind, with weights `[D, N, *cells]`."""
  view, cells = view_of(kind)
  assert weights.shape[2:] == cells
  begins = np.arange(40) / 40
  labels = {'text': tuple(TEXT), 'points': np.arange(40), 'events': begins}
  return Attended(
    view=view,
    weights=weights,
    num_inputs=int(np.prod(cells)),
    values=rng(4).random((10, 6)) if kind == 'spectrogram' else None,
    labels=labels.get(kind),
  )


def random_maps(*kinds, depths=2, latents=5):
  """Returns maps of random weights, of one or several kinds of input."""
  sizes = [int(np.prod(view_of(kind)[1])) for kind in kinds]
  flat = rng(5).random((depths, latents, sum(sizes))) ** 6
  return maps_of(kinds, flat / flat.sum(axis=-1, keepdims=True))


def maps_of(kinds, flat):
  """Returns maps of weights `[D, N, M]`, a cell for each input."""
  modalities, shares, start = {}, {}, 0
  for kind in kinds:
    cells = view_of(kind)[1]
    end = start + int(np.prod(cells))
    weights = flat[..., start:end].astype(np.float32)
    shares[kind] = weights.sum(axis=-1)
    weights = weights.reshape(*flat.shape[:2], *cells)
    modalities[kind] = modality_of(kind, weights)
    start = end
  together = flat.mean(axis=1)
  return AttentionMaps(
    modalities=modalities,
    shares=shares,
    entropy=entropy(flat),
    coverage=coverage(flat, start),
    entropy_together=entropy(together),
    coverage_together=coverage(together, start),
    num_inputs=start,
  )
