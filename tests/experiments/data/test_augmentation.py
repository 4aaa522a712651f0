"""Image augmentation against closed forms and against Pillow."""

import io
import math

import cv2
import numpy as np
import PIL.Image
import PIL.ImageEnhance
import PIL.ImageOps
import pytest

from experiments.modalities.images import augmentation


def _encode(image: np.ndarray | PIL.Image.Image, file_format: str) -> bytes:
  if isinstance(image, np.ndarray):
    image = PIL.Image.fromarray(image)
  buffer = io.BytesIO()
  image.save(buffer, file_format, **_SETTINGS.get(file_format, {}))
  return buffer.getvalue()


_SETTINGS = {'JPEG': {'quality': 97, 'subsampling': 0}}


def _gradient(side: int, slope: float) -> np.ndarray:
  """Red is slope * x, green slope * y, blue 0."""
  values = slope * np.arange(side)
  red, green = np.meshgrid(values, values)
  return np.stack([red, green, 0 * red], axis=-1).round().astype(np.uint8)


def _difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  assert a.shape == b.shape and a.dtype == b.dtype == np.uint8
  return np.abs(a.astype(int) - b)


class TestDecode:
  def test_agrees_with_pillow(self, jpeg, photograph):
    expected = np.asarray(PIL.Image.open(io.BytesIO(jpeg)))
    assert photograph.shape == (214, 320, 3)
    assert _difference(photograph, expected).max() <= 2
    assert augmentation.encoded_shape(jpeg, 'china.jpg') == (214, 320)

  def test_png_named_jpeg(self, photograph):
    encoded = _encode(photograph, 'PNG')
    np.testing.assert_array_equal(
      augmentation.decode(encoded, 'n02105855_2933.JPEG'), photograph
    )
    assert augmentation.encoded_shape(encoded, 'png') == (214, 320)

  @pytest.mark.parametrize('file_format', ['JPEG', 'PNG'])
  def test_greyscale_has_three_equal_channels(self, photograph, file_format):
    grey = np.asarray(PIL.Image.fromarray(photograph).convert('L'))
    image = augmentation.decode(_encode(grey, file_format), 'grey')
    assert image.shape == (214, 320, 3)
    np.testing.assert_array_equal(image[..., 0], image[..., 1])
    np.testing.assert_array_equal(image[..., 0], image[..., 2])
    assert _difference(image[..., 0], grey).mean() < 1

  def test_cmyk_agrees_with_pillow(self, photograph):
    cmyk = PIL.Image.fromarray(photograph).convert('CMYK')
    encoded = _encode(cmyk, 'JPEG')
    expected = np.asarray(PIL.Image.open(io.BytesIO(encoded)).convert('RGB'))
    image = augmentation.decode(encoded, 'cmyk')
    assert _difference(image, expected).max() <= 2
    assert _difference(image, photograph).mean() < 3

  def test_transparency_is_dropped(self, photograph):
    image = PIL.Image.fromarray(photograph).convert('RGBA')
    image.putalpha(100)
    decoded = augmentation.decode(_encode(image, 'PNG'), 'alpha')
    np.testing.assert_array_equal(decoded, photograph)

  def test_exif_orientation_is_ignored(self, photograph):
    image = PIL.Image.fromarray(photograph)
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees to show
    buffer = io.BytesIO()
    image.save(buffer, 'JPEG', exif=exif)
    assert augmentation.encoded_shape(buffer.getvalue(), 'x') == (214, 320)
    assert augmentation.decode(buffer.getvalue(), 'x').shape == (214, 320, 3)

  @pytest.mark.parametrize('encoded', [b'', b'not an image', None])
  def test_undecodable_names_the_record(self, jpeg, encoded):
    if encoded is None:
      encoded = jpeg[: len(jpeg) // 2]
    with pytest.raises(ValueError, match=r'n01\.JPEG.*not a whole'):
      augmentation.decode(encoded, 'n01.JPEG')

  @pytest.mark.parametrize('encoded', [b'', b'not an image'])
  def test_shape_of_undecodable_names_the_record(self, encoded):
    with pytest.raises(ValueError, match=r'n01\.JPEG.*not a whole'):
      augmentation.encoded_shape(encoded, 'n01.JPEG')


class TestDecodeCrop:
  def test_takes_the_box(self, jpeg, photograph):
    box = augmentation.Box(10, 20, 150, 200)
    crop, reduction = augmentation.decode_crop(jpeg, box, 100, 'x')
    assert reduction == 1
    np.testing.assert_array_equal(crop, photograph[10:160, 20:220])

  @pytest.mark.parametrize(
    ('height', 'min_side', 'reduction'),
    [(199, 100, 1), (200, 100, 2), (200, 51, 2), (200, 50, 4), (200, 25, 8)],
  )
  def test_largest_reduction_that_leaves_enough(
    self, jpeg, height, min_side, reduction
  ):
    for top in range(14):  # all roundings of the edges
      box = augmentation.Box(top, 2 * top, height, 250)
      crop, actual = augmentation.decode_crop(jpeg, box, min_side, 'x')
      assert actual == reduction
      assert min(crop.shape[:2]) >= min_side

  @pytest.mark.parametrize('reduction', [2, 4, 8])
  def test_reduced_agrees_with_full(self, jpeg, photograph, reduction):
    box = augmentation.Box(8, 16, 200, 280)
    crop, _ = augmentation.decode_crop(jpeg, box, 200 // reduction, 'x')
    full = photograph[8:208, 16:296]
    expected = cv2.resize(full, crop.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert _difference(crop, expected).mean() < 2
    shifted = np.roll(expected, 1, axis=1)
    assert _difference(crop, shifted).mean() > 8

  @pytest.mark.parametrize('file_format', ['JPEG', 'PNG'])
  def test_reduced_coordinates(self, file_format):
    encoded = _encode(_gradient(256, 1), file_format)
    box = augmentation.Box(30, 60, 128, 180)
    crop, reduction = augmentation.decode_crop(encoded, box, 64, 'x')
    assert reduction == 2
    # Pixel i of the result is the mean of pixels 2i and 2i + 1 of the box.
    x = 60 + 2 * np.arange(90) + 0.5
    y = 30 + 2 * np.arange(64) + 0.5
    np.testing.assert_allclose(crop[..., 0].mean(axis=0), x, atol=0.8)
    np.testing.assert_allclose(crop[..., 1].mean(axis=1), y, atol=0.8)

  @pytest.mark.parametrize('box', [(0, 0, 215, 10), (-1, 0, 9, 9)])
  def test_box_outside_the_image(self, jpeg, box):
    with pytest.raises(ValueError, match=r'n01.*does not lie in the image'):
      augmentation.decode_crop(jpeg, augmentation.Box(*box), 224, 'n01')


class TestCrops:
  def test_bounds(self):
    rng = np.random.default_rng(0)
    for _ in range(2000):
      top, left, height, width = augmentation.sample_crop(375, 500, rng)
      assert top >= 0 and top + height <= 375
      assert left >= 0 and left + width <= 500
      assert 0.1 <= height * width / (375 * 500) <= 1
      assert 3 / 4 - 0.005 <= width / height <= 4 / 3 + 0.005

  def test_distribution(self):
    rng = np.random.default_rng(1)
    boxes = [augmentation.sample_crop(1000, 1000, rng) for _ in range(4000)]
    top, left, height, width = np.array(boxes).T / 1000
    # Given the aspect, the height is uniform between that of area 0.08 and the
    # tallest that fits; crops below area 0.1 are drawn again.
    aspect = np.linspace(3 / 4, 4 / 3, 1001)
    shortest, kept = np.sqrt(0.08 / aspect), np.sqrt(0.1 / aspect)
    tallest = np.minimum(1, 1 / aspect)
    weight = (tallest - kept) / (tallest - shortest)
    expected = np.average((tallest + kept) / 2, weights=weight)
    np.testing.assert_allclose(height.mean(), expected, atol=0.01)
    expected_aspect = np.average(aspect, weights=weight)
    np.testing.assert_allclose(
      (width / height).mean(), expected_aspect, atol=0.01
    )
    np.testing.assert_allclose((top + height / 2).mean(), 0.5, atol=0.01)
    np.testing.assert_allclose((left + width / 2).mean(), 0.5, atol=0.01)
    assert height.max() > 0.98 and top.max() > 0.6

  def test_no_crop_but_a_whole_one_has_the_last_row_or_column(self):
    # As TensorFlow 2.21's `sample_distorted_bounding_box`: none of 3,000 crops
    # of 40 x 50 pixels had, but for 110 of all rows.
    rng = np.random.default_rng(2)
    boxes = [augmentation.sample_crop(40, 50, rng) for _ in range(3000)]
    top, left, height, width = np.array(boxes).T
    assert ((top + height < 40) | (height == 40)).all()
    assert ((left + width < 50) | (width == 50)).all()
    assert 60 < (height == 40).sum() < 160
    assert (top + height == 39).any() and (left + width == 49).any()

  def test_falls_back_to_the_centre(self):
    rng = np.random.default_rng(0)
    box = augmentation.sample_crop(16, 2000, rng)
    assert box == augmentation.Box(1, 993, 14, 14)

  def test_tiny_images(self):
    rng = np.random.default_rng(0)
    for height, width in [(1, 1), (1, 3), (2, 2)]:
      box = augmentation.sample_crop(height, width, rng)
      assert box.height >= 1 and box.width >= 1
      assert box.top + box.height <= height and box.left + box.width <= width

  @pytest.mark.parametrize(
    ('shape', 'box'),
    [((256, 256), (16, 16, 224, 224)), ((214, 320), (14, 67, 187, 187))],
  )
  def test_centre_crop(self, shape, box):
    assert augmentation.centre_crop(*shape) == augmentation.Box(*box)

  def test_flip(self, photograph):
    rng = np.random.default_rng(0)
    image = photograph[:8, :8]
    flipped = 0
    for _ in range(1000):
      result = augmentation.random_flip(image, rng)
      if not np.array_equal(result, image):
        np.testing.assert_array_equal(result, image[:, ::-1])
        flipped += 1
    assert 450 < flipped < 550


def _cubic(length: int, side: int) -> np.ndarray:
  """Weights [side, length] of bicubic interpolation, pixel centres at 1/2.

  Keys' kernel, a = -0.5, of which there are 1,024 places between pixels; what
  lies beyond the border is left out.
  """
  weights = np.zeros((side, length))
  for i in range(side):
    position = (i + 0.5) * length / side - 0.5
    for tap in range(math.floor(position) - 1, math.floor(position) + 3):
      t = abs(round(1024 * (position - tap)) / 1024)
      if t <= 1:
        weight = 1.5 * t**3 - 2.5 * t**2 + 1
      else:
        weight = -0.5 * (t**3 - 5 * t**2 + 8 * t - 4)
      if 0 <= tap < length:
        weights[i, tap] += weight
  return weights / weights.sum(axis=1, keepdims=True)


class TestResize:
  @pytest.mark.parametrize('side', [224, 90])
  def test_direct_computation(self, photograph, side):
    image = photograph[20:170, 30:230]
    result = augmentation.resize(image, side)
    assert result.shape == (side, side, 3) and result.dtype == np.float32
    rows, columns = _cubic(150, side), _cubic(200, side)
    expected = columns @ np.einsum('ih,hwc->iwc', rows, image)
    np.testing.assert_allclose(result, expected, atol=0.01)

  def test_numbers_of_tensorflow(self):
    # tf.image.resize(image, (side, side), BICUBIC) of TensorFlow 2.21.
    i = np.arange(5 * 7 * 3).reshape(5, 7, 3)
    image = (37 * i * i % 256).astype(np.uint8)
    expected = [
      [63.635, 129.171, 143.965],
      [208.151, 237.0, 129.206],
      [215.289, 21.094, 134.873],
    ]
    result = augmentation.resize(image, 3)[..., 0]
    np.testing.assert_allclose(result, expected, atol=2e-3)
    result = augmentation.resize(image, 8)[[0, 7], :, 1]
    expected = [
      [20.464, 74.732, 29.076, 65.501, 124.425, 78.218, -14.865, 45.331],
      [65.718, 44.667, 199.881, 103.525, 100.382, 207.051, 75.093, 75.590],
    ]
    np.testing.assert_allclose(result, expected, atol=2e-3)

  @pytest.mark.parametrize('side', [224, 90])
  def test_coordinates(self, side):
    """A ramp stays a ramp to a twentieth of a pixel: a shift would show."""
    image = _gradient(128, 2)[8:108, 20:120]
    result = augmentation.resize(image, side)
    source = (np.arange(side) + 0.5) * 100 / side - 0.5
    inside = (source > 1) & (source < 98)
    x = result[..., 0][:, inside] / 2 - 20
    np.testing.assert_allclose(x - source[inside], 0, atol=0.05)
    y = result[..., 1][inside] / 2 - 8
    np.testing.assert_allclose(y - source[inside, None], 0, atol=0.05)

  def test_same_size_is_the_image(self, photograph):
    image = photograph[:200, :200]
    np.testing.assert_array_equal(augmentation.resize(image, 200), image)

  def test_overshoot_is_kept(self):
    image = np.zeros((16, 16, 3), np.uint8)
    image[:, 8:] = 255
    result = augmentation.resize(image, 64)
    assert result.min() < -5 and result.max() > 260

  def test_normalise(self):
    image = np.zeros((2, 3, 3), np.float32)
    image[0, 0] = [0.485 * 255, 0.456 * 255, 0.406 * 255]
    image[1, 2] = 255
    result = augmentation.normalise(image)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result[0, 0], 0, atol=1e-6)
    np.testing.assert_allclose(
      result[1, 2], [0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225], rtol=1e-5
    )
    np.testing.assert_allclose(
      result[1, 1], [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225], rtol=1e-5
    )


def _moments(image: np.ndarray) -> dict[str, float]:
  return cv2.moments(image.astype(np.float32))


def _affine(image: np.ndarray, seed: int, **changes) -> np.ndarray:
  still = {
    'max_rotation': 0.0,
    'max_shear': 0.0,
    'scale': (1.0, 1.0),
    'max_shift': 0.0,
  }
  rng = np.random.default_rng(seed)
  return augmentation.random_affine(image, rng, **(still | changes))


class TestRandomAffine:
  @pytest.fixture
  def bar(self) -> np.ndarray:
    image = np.zeros((41, 41), np.uint8)
    image[10:31, 18:23] = 200  # upright, about the centre
    return image

  @pytest.mark.parametrize('shape', [(28, 28), (28, 20, 1), (28, 28, 3)])
  def test_standing_still(self, photograph, shape):
    image = np.resize(photograph, shape)
    result = _affine(image, 0)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, image)

  def test_shift(self, bar):
    shifts = []
    for seed in range(300):
      m = _moments(_affine(bar, seed, max_shift=3))
      shifts.append([m['m10'] / m['m00'] - 20, m['m01'] / m['m00'] - 20])
    shifts = np.array(shifts)
    assert 2.9 < shifts.max() < 3.05 and -3.05 < shifts.min() < -2.9
    np.testing.assert_allclose(shifts.mean(axis=0), 0, atol=0.35)
    np.testing.assert_allclose(shifts.std(axis=0), 3 / math.sqrt(3), atol=0.2)

  def test_rotation(self, bar):
    angles = []
    for seed in range(300):
      m = _moments(_affine(bar, seed, max_rotation=25))
      assert abs(m['m10'] / m['m00'] - 20) < 0.05  # about the centre
      tangent = 2 * m['mu11'] / (m['mu02'] - m['mu20'])
      angles.append(math.degrees(math.atan(tangent) / 2))
    assert 24 < max(angles) < 25.5 and -25.5 < min(angles) < -24
    assert abs(np.mean(angles)) < 3

  def test_scale(self, bar):
    areas = []
    for seed in range(300):
      areas.append(_affine(bar, seed, scale=(0.8, 1.2)).sum() / bar.sum())
    scales = np.sqrt(areas)
    assert 0.78 < scales.min() < 0.82 and 1.18 < scales.max() < 1.22

  def test_shear(self, bar):
    slopes = []
    for seed in range(300):
      m = _moments(_affine(bar, seed, max_shear=0.3))
      slopes.append(m['mu11'] / m['mu02'])
    assert 0.28 < max(slopes) < 0.31 and -0.31 < min(slopes) < -0.28

  def test_outside_is_black(self):
    result = _affine(np.full((28, 28), 255, np.uint8), 0, max_shift=1e6)
    assert not result.any()

  def test_seed_decides(self, bar):
    moving = {'max_rotation': 15.0, 'max_shift': 2.0}
    first = _affine(bar, 5, **moving)
    np.testing.assert_array_equal(first, _affine(bar, 5, **moving))
    assert not np.array_equal(first, _affine(bar, 6, **moving))
