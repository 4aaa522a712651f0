"""Texts of two, and the targets of both."""

import functools

import jax
import numpy as np
import pytest

from experiments.answers.classes.losses import label_loss, mixed_targets
from experiments.modalities.text.examples import token_example
from experiments.modalities.text.mixing import mix_texts
from perceiver_jax.metrics import sum_of_means


def pair_of(first, second, length=12):
  examples = [token_example(text, length) for text in (first, second)]
  pair = {
    name: np.stack([x[name] for x in examples]) for name in ('tokens', 'mask')
  }
  return {**pair, 'label': np.array([3, 5], np.int32)}


def text_of(example):
  return bytes((example['tokens'][example['mask']] - 6).tolist())


def test_a_text_is_a_part_of_each_and_the_share_says_how_much():
  pair = pair_of(b'aaaaaaaa', b'bbbb')
  mix = functools.partial(mix_texts, 0, pair, probability=1.0)
  seen = set()
  for seed in range(50):
    example = mix(rng=np.random.default_rng(seed))
    text = text_of(example)
    ours, theirs = text.count(b'a'), text.count(b'b')
    assert text == b'a' * ours + b'b' * theirs
    assert example['mix_share'] == pytest.approx(theirs / (ours + theirs))
    # Of eight and of four the shares are 1 - s and s.
    assert abs(ours / 8 + theirs / 4 - 1) <= 0.5 / 8 + 0.5 / 4
    seen.add((ours, theirs))
  assert len(seen) > 5
  assert (example['label'], example['mix_label']) == (3, 5)


def test_without_a_second_text_the_first_stays():
  pair = pair_of(b'abc', b'xyz')
  example = mix_texts(0, pair, np.random.default_rng(0), probability=0.0)
  assert text_of(example) == b'abc'
  assert example['mix_share'] == 0.0
  np.testing.assert_array_equal(example['tokens'], pair['tokens'][0])


def test_parts_keep_their_order_and_fit():
  pair = pair_of(bytes(range(97, 109)), bytes(range(65, 77)))
  for seed in range(20):
    rng = np.random.default_rng(seed)
    text = text_of(mix_texts(0, pair, rng, probability=1.0))
    assert len(text) <= 12
    small, large = (
      [x for x in text if (x >= 97) == is_small] for is_small in (True, False)
    )
    for part in (small, large):
      assert part == list(range(part[0], part[0] + len(part))) if part else True


def test_targets_and_loss_are_of_both_labels():
  batch = {
    'label': np.array([0, 1]),
    'mix_label': np.array([2, 0]),
    'mix_share': np.array([0.25, 0.0], np.float32),
    'weight': np.ones(2, np.float32),
  }
  targets = np.array([[0.75, 0, 0.25], [0, 1, 0]])
  np.testing.assert_allclose(mixed_targets(batch, 3), targets)
  logits = np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 0.5]], np.float32)
  losses, _ = label_loss()({'label': logits}, batch)
  expected = -(targets * np.asarray(jax.nn.log_softmax(logits))).sum() / 2
  assert sum_of_means(losses) == pytest.approx(expected, rel=1e-5)
