"""MixUp and CutMix: every pixel and both labels accounted for."""

import functools
import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.answers.classes.losses import softmax_loss
from experiments.data.dataset import Dataset
from experiments.data.pipeline import train_batches
from experiments.modalities.images.mixing import mix_pair, random_box
from perceiver_jax.metrics import sum_of_means


def pair(height=12, width=20):
  images = np.zeros((2, height, width, 3), np.float32)
  images[1] = 1.0
  return {'image': images, 'label': np.array([3, 5], np.int32)}


@pytest.mark.parametrize('seed', range(5))
def test_mixup_adds_both_images(seed):
  rng = np.random.default_rng(seed)
  mixed = mix_pair(0, pair(), rng, mixup_alpha=0.2, cutmix=False)
  # The second image is one everywhere, the first zero.
  assert np.ptp(mixed['image']) == 0.0
  assert mixed['image'][0, 0, 0] == pytest.approx(float(mixed['mix_share']))
  assert (mixed['label'], mixed['mix_label']) == (3, 5)
  assert mixed['image'].dtype == mixed['mix_share'].dtype == np.float32


@pytest.mark.parametrize('seed', range(20))
def test_cutmix_leaves_each_pixel_to_one_image(seed):
  rng = np.random.default_rng(seed)
  original = pair()
  mixed = mix_pair(0, original, rng, mixup_alpha=0.0, cutmix=True)
  image = mixed['image']
  assert set(np.unique(image)) <= {0.0, 1.0}
  assert image.mean() == pytest.approx(float(mixed['mix_share']))
  # What is of the first image is a box.
  rows, columns = np.nonzero(image[..., 0] == 0.0)
  if rows.size:
    assert rows.size == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
  assert (original['image'][1] == 1.0).all(), 'the pair itself was changed'


def test_shares_have_the_distributions_of_their_papers():
  rng = np.random.default_rng(0)
  shares = [
    float(
      mix_pair(0, pair(2, 2), rng, mixup_alpha=0.2, cutmix=False)['mix_share']
    )
    for _ in range(2000)
  ]
  # Beta(0.2, 0.2): mean 1/2, variance 1 / (4 (2 0.2 + 1)).
  assert abs(np.mean(shares) - 0.5) < 5 * np.sqrt(0.1786 / 2000)
  assert abs(np.var(shares) - 1 / 5.6) < 0.01


class Drawn:
  """A generator that draws what it is told."""

  def __init__(self, area, *centre):
    left = list(centre)
    self.random = lambda: area
    self.integers = lambda size: left.pop(0)


@pytest.mark.parametrize(
  ('area', 'centre', 'box'),
  [
    # A quarter of the area is half of each side.
    (0.25, (50, 100), (slice(25, 75), slice(50, 150))),
    (0.25, (10, 190), (slice(0, 35), slice(140, 200))),
    (0.0, (50, 100), (slice(50, 50), slice(100, 100))),
    (1.0, (50, 100), (slice(0, 100), slice(0, 200))),
  ],
)
def test_the_box_has_the_drawn_area_and_is_cut_off_at_the_edges(
  area, centre, box
):
  assert random_box(100, 200, Drawn(area, *centre)) == box


def test_with_both_each_is_taken_in_turns():
  rng = np.random.default_rng(0)
  mixed = [
    mix_pair(number, pair(), rng, mixup_alpha=1.0, cutmix=True)['image']
    for number in range(200)
  ]
  assert not any(np.ptp(image) for image in mixed[::2])  # MixUp: even.
  # A few boxes are empty, or the whole image; the others have two parts.
  assert np.mean([np.ptp(image) > 0.0 for image in mixed[1::2]]) > 0.8


class Images:
  def __len__(self):
    return 6

  def __getitem__(self, index):
    return {
      'image': np.full((4, 4, 1), index, np.float32),
      'label': np.int32(index),
    }


def test_every_mixed_example_has_two_images_of_its_own():
  dataset = Dataset(
    train=Images(),
    augment=lambda example, rng: example,
    evaluation=Images(),
    prepare=lambda example: example,
    mix=functools.partial(mix_pair, mixup_alpha=0.2, cutmix=True),
  )

  def first(num_batches, position):
    stream = train_batches(dataset, 3, seed=0, position=position)
    return list(itertools.islice(stream, num_batches))

  one, two, three = first(3, position=0)
  labels = np.concatenate([one['label'], one['mix_label']])
  assert sorted(labels) == list(range(6))  # An epoch in three examples.
  for batch in (one, two, three):
    assert batch['image'].shape == (3, 4, 4, 1)
    mean = batch['image'].mean(axis=(1, 2, 3))
    share = batch['mix_share']
    expected = batch['label'] * (1 - share) + batch['mix_label'] * share
    np.testing.assert_allclose(mean, expected, rtol=1e-5, atol=1e-5)
  # Resumed after one batch: the next.
  resumed = first(1, position=3)[0]
  np.testing.assert_array_equal(resumed['image'], two['image'])


def test_half_of_each_batch_is_cut_and_half_is_blended():
  stream = train_batches(
    Dataset(
      train=Images(),
      augment=lambda example, rng: example,
      evaluation=Images(),
      prepare=lambda example: example,
      mix=lambda number, both, rng: {'number': np.int32(number % 2)},
    ),
    4,
    seed=0,
    position=2,
  )
  for batch in itertools.islice(stream, 5):
    assert batch['number'].tolist() == [0, 1, 0, 1]


def test_loss_of_a_mixed_example_is_that_of_both_labels():
  logits = jnp.array([[2.0, 0.0, -1.0]])
  log_total = np.log(np.exp([2.0, 0.0, -1.0]).sum())
  batch = {
    'label': jnp.array([0]),
    'weight': jnp.ones(1),
    'mix_label': jnp.array([2]),
    'mix_share': jnp.array([0.25]),
  }
  loss, metrics = softmax_loss(label_smoothing=0.0)(logits, batch)
  assert float(sum_of_means(loss)) == pytest.approx(
    log_total - 0.75 * 2.0 + 0.25
  )
  assert float(metrics['accuracy'].total) == 1.0
  # Smoothed: a tenth of the target is spread over the three classes.
  loss, _ = softmax_loss(label_smoothing=0.1)(logits, batch)
  mean_logit = 1 / 3
  expected = log_total - 0.9 * (0.75 * 2.0 - 0.25) - 0.1 * mean_logit
  assert float(sum_of_means(loss)) == pytest.approx(expected, rel=1e-5)
