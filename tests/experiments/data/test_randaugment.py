"""RandAugment against closed forms and against Pillow."""

import math

import numpy as np
import PIL.Image
import PIL.ImageEnhance
import PIL.ImageOps
import pytest

from experiments.modalities.images import randaugment


def _difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  assert a.shape == b.shape and a.dtype == b.dtype == np.uint8
  return np.abs(a.astype(int) - b)


def _nearest(image: np.ndarray, to_source: list[list[float]]) -> np.ndarray:
  """Takes each pixel from the nearest source pixel, grey outside."""
  height, width = image.shape[:2]
  y, x = np.mgrid[:height, :width]
  source = np.einsum(
    'ij,jhw->ihw', np.array(to_source), [x, y, np.ones_like(x)]
  )
  column, row = np.floor(source + 0.5).astype(int)
  inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
  result = np.full_like(image, 128)
  result[inside] = image[row[inside], column[inside]]
  return result


class TestRandAugmentOps:
  """Colour ops against Pillow's, geometric ops against closed forms."""

  def test_auto_contrast(self, photograph):
    dull = photograph // 3 + 40
    dull[..., 1] = 77  # a channel without contrast stays
    expected = PIL.ImageOps.autocontrast(PIL.Image.fromarray(dull))
    result = randaugment.auto_contrast(dull)
    np.testing.assert_array_equal(result, np.asarray(expected))
    assert result[..., 0].min() == 0 and result[..., 0].max() == 255
    assert (result[..., 1] == 77).all()

  @pytest.mark.parametrize('shape', [(214, 320), (8, 8), (30, 20)])
  def test_equalize(self, photograph, shape):
    image = photograph[: shape[0], : shape[1]]
    expected = PIL.ImageOps.equalize(PIL.Image.fromarray(image))
    result = randaugment.equalize(image)
    np.testing.assert_array_equal(result, np.asarray(expected))

  def test_invert(self, photograph):
    result = randaugment.invert(photograph)
    np.testing.assert_array_equal(result, 255 - photograph)

  @pytest.mark.parametrize('bits', [1, 2, 4, 8])
  def test_posterize(self, photograph, bits):
    expected = PIL.ImageOps.posterize(PIL.Image.fromarray(photograph), bits)
    result = randaugment.posterize(photograph, bits)
    np.testing.assert_array_equal(result, np.asarray(expected))

  def test_posterize_to_nothing_keeps_a_bit(self):
    # As the released code does with TensorFlow 2.21, below magnitude 2.5.
    image = np.array([[[0, 127, 128], [200, 255, 1]]], np.uint8)
    result = randaugment.posterize(image, 0)
    np.testing.assert_array_equal(result, [[[0, 0, 128], [128, 128, 0]]])

  @pytest.mark.parametrize('threshold', [0, 128, 200, 256])
  def test_solarize(self, photograph, threshold):
    image = PIL.Image.fromarray(photograph)
    expected = PIL.ImageOps.solarize(image, threshold)
    result = randaugment.solarize(photograph, threshold)
    np.testing.assert_array_equal(result, np.asarray(expected))

  def test_solarize_add(self):
    image = np.array([[[0, 100, 127], [128, 200, 255]]], np.uint8)
    result = randaugment.solarize_add(image, 55)
    expected = [[[55, 155, 182], [128, 200, 255]]]
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(randaugment.solarize_add(image, 0), image)

  @pytest.mark.parametrize('factor', [0.0, 0.1, 0.64, 1.0, 1.9])
  @pytest.mark.parametrize(
    ('op', 'pillow'),
    [
      (randaugment.color, PIL.ImageEnhance.Color),
      (randaugment.contrast, PIL.ImageEnhance.Contrast),
      (randaugment.brightness, PIL.ImageEnhance.Brightness),
      (randaugment.sharpness, PIL.ImageEnhance.Sharpness),
    ],
  )
  def test_enhance(self, photograph, op, pillow, factor):
    enhanced = pillow(PIL.Image.fromarray(photograph)).enhance(factor)
    result = op(photograph, factor)
    assert _difference(result, np.asarray(enhanced)).max() <= 2
    if factor == 1.0:
      np.testing.assert_array_equal(result, photograph)

  def test_rotate_by_right_angles(self, photograph):
    square = photograph[:101, :101]
    result = randaugment.rotate(square, 90)
    np.testing.assert_array_equal(result, np.rot90(square))
    result = randaugment.rotate(photograph, 180)
    np.testing.assert_array_equal(result, photograph[::-1, ::-1])
    np.testing.assert_array_equal(randaugment.rotate(photograph, 0), photograph)

  @pytest.mark.parametrize('degrees', [15, -30])
  def test_rotate(self, photograph, degrees):
    cos = math.cos(math.radians(degrees))
    sin = math.sin(math.radians(degrees))
    x, y = 319 / 2, 213 / 2
    matrix = [
      [cos, -sin, x - cos * x + sin * y],
      [sin, cos, y - sin * x - cos * y],
    ]
    result = randaugment.rotate(photograph, degrees)
    same = (result == _nearest(photograph, matrix)).all(axis=-1)
    assert same.mean() > 0.99  # the rest are ties between two pixels
    image = PIL.Image.fromarray(photograph)
    pillow = image.rotate(degrees, fillcolor=(128, 128, 128))
    assert (result == np.asarray(pillow)).mean() > 0.95

  # No slope that puts whole rows half way between two pixels.
  @pytest.mark.parametrize('slope', [0.0, 0.137, -0.293])
  def test_shear(self, photograph, slope):
    result = randaugment.shear_x(photograph, slope)
    expected = _nearest(photograph, [[1, slope, 0], [0, 1, 0]])
    assert (result == expected).all(axis=-1).mean() > 0.99
    result = randaugment.shear_y(photograph, slope)
    expected = _nearest(photograph, [[1, 0, 0], [slope, 1, 0]])
    assert (result == expected).all(axis=-1).mean() > 0.99
    if slope == 0:
      np.testing.assert_array_equal(result, photograph)

  def test_translate(self, photograph):
    left = randaugment.translate_x(photograph, 50)
    np.testing.assert_array_equal(left[:, :-50], photograph[:, 50:])
    assert (left[:, -50:] == 128).all()
    right = randaugment.translate_x(photograph, -50)
    np.testing.assert_array_equal(right[:, 50:], photograph[:, :-50])
    up = randaugment.translate_y(photograph, 30)
    np.testing.assert_array_equal(up[:-30], photograph[30:])
    assert (up[-30:] == 128).all()
    same = randaugment.translate_y(photograph, 0)
    np.testing.assert_array_equal(same, photograph)

  def test_cutout(self, photograph):
    result = randaugment.cutout(photograph, 100, 200, 20)
    expected = photograph.copy()
    expected[80:120, 180:220] = 128
    np.testing.assert_array_equal(result, expected)
    corner = randaugment.cutout(photograph, 5, 318, 20)
    expected = photograph.copy()
    expected[:25, 298:] = 128
    np.testing.assert_array_equal(corner, expected)
    none = randaugment.cutout(photograph, 100, 200, 0)
    np.testing.assert_array_equal(none, photograph)


class TestRandAugment:
  @pytest.mark.parametrize(
    ('op', 'magnitude', 'expected'),
    [
      ('rotate', 5, {15.0, -15.0}),
      ('posterize', 5, {2}),
      ('posterize', 10, {4}),
      ('solarize', 5, {128}),
      ('solarize_add', 5, {55}),
      ('color', 5, {1.0}),
      ('contrast', 10, {1.9}),
      ('brightness', 0, {0.1}),
      ('sharpness', 5, {1.0}),
      ('shear_x', 5, {0.15, -0.15}),
      ('shear_y', 10, {0.3, -0.3}),
      ('translate_x', 5, {50.0, -50.0}),
      ('translate_y', 10, {100.0, -100.0}),
    ],
  )
  def test_strength(self, monkeypatch, op, magnitude, expected):
    seen = set()

    def record(image, strength):
      seen.add(round(strength, 12))
      return image

    monkeypatch.setattr(randaugment, op, record)
    randaugment.randaugment(
      np.zeros((8, 8, 3), np.uint8),
      np.random.default_rng(0),
      num_layers=200,
      magnitude=magnitude,
    )
    assert seen == expected

  def test_lengths_follow_the_scale(self, photograph):
    draw = randaugment._Draw(0.5, 1, 0.5, (0.5, 0.25))
    np.testing.assert_array_equal(
      randaugment.RANDAUGMENT_OPS['TranslateX'](photograph, draw),
      randaugment.translate_x(photograph, 25),
    )
    np.testing.assert_array_equal(
      randaugment.RANDAUGMENT_OPS['Cutout'](photograph, draw),
      randaugment.cutout(photograph, 107, 80, 10),
    )

  def test_every_op_is_equally_likely(self, monkeypatch):
    counts = dict.fromkeys(randaugment.RANDAUGMENT_OPS, 0)
    assert len(counts) == 16
    draws = []

    def counting(name):
      def op(image, draw):
        counts[name] += 1
        draws.append(draw)
        return image

      return op

    for name in counts:
      monkeypatch.setitem(randaugment.RANDAUGMENT_OPS, name, counting(name))
    randaugment.randaugment(
      np.zeros((8, 8, 3), np.uint8),
      np.random.default_rng(0),
      num_layers=6400,
      magnitude=5,
    )
    assert all(320 < count < 480 for count in counts.values()), counts
    assert abs(np.mean([draw.sign for draw in draws])) < 0.05
    centres = np.array([draw.centre for draw in draws])
    np.testing.assert_allclose(centres.mean(axis=0), 0.5, atol=0.02)

  def test_seed_decides(self, photograph):
    def run(seed):
      rng = np.random.default_rng(seed)
      return randaugment.randaugment(photograph, rng, num_layers=4, magnitude=5)

    before = photograph.copy()
    results = [run(seed) for seed in range(20)]
    for seed, result in enumerate(results):
      assert result.shape == photograph.shape and result.dtype == np.uint8
      np.testing.assert_array_equal(result, run(seed))
    assert len({result.tobytes() for result in results}) > 15
    np.testing.assert_array_equal(photograph, before)

  @pytest.mark.parametrize('magnitude', [-1, 11])
  def test_magnitude_out_of_range(self, photograph, magnitude):
    with pytest.raises(ValueError, match=f'magnitude is {magnitude}'):
      randaugment.randaugment(
        photograph,
        np.random.default_rng(0),
        num_layers=1,
        magnitude=magnitude,
      )
