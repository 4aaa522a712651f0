"""Cheap classical models, on data that they must, or cannot, tell apart."""

import numpy as np
import pytest
import scipy.signal

from experiments.data.dataset import Dataset
from experiments.measuring.classical import classify
from experiments.modalities.images.view import Image
from experiments.modalities.points.view import Points
from experiments.modalities.senses import sense_of
from experiments.modalities.series.view import Series
from experiments.modalities.sound.view import Sound
from experiments.modalities.text.view import Text
from experiments.modalities.video.view import Video

RATE = 8000


def features_of(view):
  return sense_of(view).classical.features(view)


def sound(rng, label):
  hertz = rng.uniform(300, 500) if label else rng.uniform(900, 1500)
  phase = rng.uniform(0, 6) + 2 * np.pi * hertz * np.arange(2400) / RATE
  noise = rng.normal(scale=0.1, size=2400)
  return Sound((0.3 * np.sin(phase) + noise).astype(np.float32), RATE)


def image(rng, label):
  """Stripes down or across, of any two colours."""
  stripes = np.arange(40)[:, None] // 5 % 2 * rng.uniform(120, 255, 3)
  pixels = np.broadcast_to(stripes[:, None], (40, 40, 3))
  pixels = pixels if label else pixels.swapaxes(0, 1)
  return Image(np.clip(pixels + rng.normal(0, 9, pixels.shape), 0, 255))


def video(rng, label):
  frames = np.repeat(image(rng, 0).pixels[None], 4, axis=0)
  if label:  # Something moves.
    frames = frames * rng.uniform(0, 1, (4, 1, 1, 1))
  return Video(frames, 8)


def points(rng, label):
  size = (1, 1, 1) if label else (1, 0.3, 1)
  return Points((rng.normal(size=(200, 3)) * size).astype(np.float32))


def series(rng, label):
  steps = np.arange(120)[:, None] * (0.9 if label else 0.3)
  return Series(np.sin(steps + rng.uniform(0, 6, (1, 2))), None)


def text(rng, label):
  words = ['red', 'green'] if label else ['rot', 'blau']
  return Text(' '.join(rng.choice([*words, 'x', 'y'], 12)).encode())


def dataset_of(make, labels_count=2):
  """24 to train, 6 to choose by, 20 to test."""
  rng = np.random.default_rng(0)

  def examples(count):
    return [
      {'view': make(rng, i % labels_count), 'label': i % labels_count}
      for i in range(count)
    ]

  return Dataset(
    train=examples(24),
    augment=lambda example, rng: example,
    evaluation=examples(20),
    prepare=lambda example: example,
    validation=examples(6),
  )


@pytest.mark.parametrize(
  'make', [sound, image, video, points, series, text], ids=lambda x: x.__name__
)
def test_what_can_be_told_apart(make):
  found = classify(dataset_of(make), lambda each: {'input': each['view']})
  assert found.accuracy >= 0.9
  assert found.name


def test_what_cannot_be_told_apart():
  dataset = dataset_of(lambda rng, label: sound(rng, rng.integers(2)))
  found = classify(dataset, lambda each: {'input': each['view']})
  assert found.accuracy < 0.9


def test_examples_of_two_senses():
  with pytest.raises(ValueError, match='one sense, these have left, right'):
    classify(
      dataset_of(sound),
      lambda each: {'left': each['view'], 'right': each['view']},
    )


def test_the_size_of_a_shape_counts():
  small = points(np.random.default_rng(0), 0)
  ours, theirs = (
    features_of(small._replace(scale=scale)) for scale in (1.0, 10.0)
  )
  np.testing.assert_allclose(ours[:-4], theirs[:-4])
  np.testing.assert_allclose(theirs[-4:] - ours[-4:], np.log(10.0), rtol=1e-5)


def test_sounds_are_told_by_where_their_power_is():
  """The first cepstral coefficient weighs low bands against high ones."""
  seconds = np.arange(RATE) / RATE
  low, high = (
    features_of(
      Sound(scipy.signal.chirp(seconds, hertz, 1, hertz), float(RATE))
    )
    for hertz in (200.0, 3000.0)
  )
  assert low[1] > high[1]
