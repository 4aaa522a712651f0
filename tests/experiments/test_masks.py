"""Masks in a column: files, loss, metrics, what is told; a model learns one."""

import base64
import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
import scipy.special
import sklearn.metrics

from experiments.answers.head import Column
from experiments.answers.masks import loss
from experiments.answers.masks.column import MASK
from experiments.answers.masks.record import MASKS
from experiments.modalities.images.folder import image_files
from experiments.modalities.images.label_images import (
  nearest,
  read_label_image,
)
from perceiver_jax.image_windows import ImageWindows
from perceiver_jax.position_encoding import FourierPositions
from tests.learned_heads import learned
from tests.pages import Page

SIZE, CELL = 24, 4
mask_loss = jax.jit(loss.mask_loss)
slopes = jax.jit(jax.grad(lambda *x: loss.mask_loss(*x).sum()))
ASKS = {
  'kind': 'images',
  'image_size': SIZE,
  'cell': CELL,
  'mean': [0.4, 0.5, 0.6],
  'stddev': [0.2, 0.25, 0.3],
  'max_rotation': 20.0,
  'max_shear': 0.1,
  'max_scale': 0.2,
  'max_shift': 0.1,
  'mirror_probability': 0.5,
}
OPTIONS = {
  'numbers': [0, 3, 7],
  'names': ['ground', 'tree', '<b>'],
  'ignore': 255,
  'shares': [0.6, 0.3, 0.1],
}


def rng(seed=0):
  return np.random.default_rng(seed)


def saved(folder, name, array, **more):
  path = folder / name
  PIL.Image.fromarray(array).save(path, **more)
  return str(path)


def column(folder, masks, images=()):
  cells = [saved(folder, f'm{i}.png', mask) for i, mask in enumerate(masks)]
  return Column('seg', cells, ASKS, images)


def as_outputs(logits):
  """`[B, S, S, C]` in the order of cells, and of pixels within each."""
  side = logits.shape[1] // CELL
  return np.stack(
    [
      [
        each[CELL * i : CELL * (i + 1), CELL * j : CELL * (j + 1)].ravel()
        for i in range(side)
        for j in range(side)
      ]
      for each in logits
    ]
  )


def pixels_of(link):
  data = base64.b64decode(link.partition('base64,')[2])
  with PIL.Image.open(io.BytesIO(data)) as picture:
    return np.asarray(picture)


def random_masks(seed=0, n=5):
  truth = rng(seed).choice(3, (n, SIZE, SIZE), p=[0.6, 0.3, 0.1])
  truth[rng(seed + 1).random(truth.shape) < 0.1] = -1
  return truth.astype(np.int32)


# Files.


def test_numbers_are_read_of_every_depth_and_palette(tmp_path):
  numbers = rng().integers(0, 2, (5, 8)).astype(np.uint8)
  palette = PIL.Image.fromarray(3 * numbers, 'P')
  palette.putpalette(rng().integers(0, 256, 768).astype(np.uint8).tobytes())
  palette.save(tmp_path / 'p.png')
  wide = numbers.astype(np.uint16) * 40_000
  files = {
    'l.png': (3 * numbers, 3),
    'i16.png': (wide, 40_000),
    'one.png': (numbers > 0, 1),
    'grey.png': (np.stack([3 * numbers] * 3, axis=-1), 3),
    'l.tif': (3 * numbers, 3),
  }
  for name, (array, factor) in files.items():
    saved(tmp_path, name, array)
    read = read_label_image(tmp_path / name)
    assert read.dtype == np.int32
    np.testing.assert_array_equal(read, factor * numbers.astype(int))
  np.testing.assert_array_equal(
    read_label_image(tmp_path / 'p.png'), 3 * numbers
  )


def test_a_turned_mask_is_read_as_its_image_is(tmp_path):
  exif = PIL.Image.Exif()
  exif[0x0112] = 6  # To be turned to the right.
  numbers = np.arange(6, dtype=np.uint8).reshape(2, 3)
  saved(tmp_path, 'a.png', numbers, exif=exif)
  np.testing.assert_array_equal(
    read_label_image(tmp_path / 'a.png'), np.rot90(numbers, -1)
  )


@pytest.mark.parametrize(
  'name, array, said',
  [
    ('a.png', rng().integers(0, 9, (4, 4, 3)), 'it has colours .RGB; 16 of'),
    ('a.png', rng().integers(0, 9, (4, 4, 4)), 'Give each colour a number'),
    ('a.jpg', np.zeros((4, 4)), 'none of PNG, TIFF, BMP'),
  ],
)
def test_what_is_no_mask_is_refused(tmp_path, name, array, said):
  saved(tmp_path, name, array.astype(np.uint8))
  with pytest.raises(ValueError, match=rf'{name} is no mask.*{said}'):
    read_label_image(tmp_path / name)


def test_a_damaged_mask_is_named(tmp_path):
  path = tmp_path / 'a.png'
  saved(tmp_path, 'a.png', rng().integers(0, 9, (40, 40)).astype(np.uint8))
  path.write_bytes(path.read_bytes()[:400])
  with pytest.raises(ValueError, match=r'a\.png is no mask, or is damaged'):
    read_label_image(path)


@pytest.mark.parametrize('shape', [(7, 50), (24, 24), (100, 31)])
def test_nearest_is_that_of_pillow(shape):
  numbers = rng().integers(0, 99, shape).astype(np.int32)
  small = PIL.Image.fromarray(numbers).resize(
    (SIZE, SIZE), PIL.Image.Resampling.NEAREST
  )
  np.testing.assert_array_equal(nearest(numbers, SIZE), np.asarray(small))


# What suits a column.


def test_classes_are_the_numbers_of_all_masks(tmp_path):
  first = np.zeros((10, 10), np.uint8)
  first[:2] = 7
  second = np.full((20, 20), 3, np.uint8)  # As much as the first.
  options = MASK.suited(column(tmp_path, [first, second]), {})
  assert (
    json.loads(json.dumps(options))
    == options
    == {
      'numbers': [0, 3, 7],
      'names': ['0', '3', '7'],
      'ignore': None,
      'shares': [0.4, 0.5, 0.1],
    }
  )


@pytest.mark.parametrize(
  'values, argument, numbers, ignore',
  [
    ([0, 255], {}, [0, 255], None),
    ([0, 1, 255], {}, [0, 1], 255),
    ([0, 1], {}, [0, 1], 255),
    ([0, 2, 255], {}, [0, 2, 255], None),
    ([0, 1, 255], {'ignore': 'none'}, [0, 1, 255], None),
    ([0, 1, 2], {'ignore': '0'}, [1, 2], 0),
  ],
)
def test_what_is_ignored(tmp_path, values, argument, numbers, ignore):
  mask = np.resize(np.array(values, np.uint8), (6, 6))
  options = MASK.suited(column(tmp_path, [mask]), argument)
  assert (options['numbers'], options['ignore']) == (numbers, ignore)


def test_classes_have_names(tmp_path):
  mask = np.resize(np.array([0, 255], np.uint8), (6, 6))
  arguments = {'names': 'background| cell'}
  options = MASK.suited(column(tmp_path, [mask]), arguments)
  assert options['names'] == ['background', 'cell']
  with pytest.raises(ValueError, match=r'names must be 2 different.*0, 255'):
    MASK.suited(column(tmp_path, [mask]), {'names': 'a|b|c'})
  with pytest.raises(ValueError, match=r"'name'.*Did you mean|names=\.\.\."):
    MASK.suited(column(tmp_path, [mask]), {'name': 'a|b'})


def test_masks_of_too_few_or_too_many_classes_are_refused(tmp_path):
  one = np.zeros((6, 6), np.uint8)
  with pytest.raises(ValueError, match=r'seg:mask has 1 numbers .*: expected'):
    MASK.suited(column(tmp_path, [one]), {})
  many = np.arange(400, dtype=np.uint16).reshape(20, 20)
  with pytest.raises(ValueError, match='400 numbers'):
    MASK.suited(column(tmp_path, [many]), {})
  with pytest.raises(ValueError, match=r"ignore must be .*'x'"):
    MASK.suited(column(tmp_path, [many]), {'ignore': 'x'})


def test_a_mask_of_another_shape_than_its_image_is_refused(tmp_path):
  mask = np.resize(np.array([0, 1], np.uint8), (40, 60))
  small = saved(tmp_path, 'i.png', np.zeros((20, 30, 3), np.uint8))
  assert MASK.suited(column(tmp_path, [mask], [small]), {})
  exif = PIL.Image.Exif()
  exif[0x0112] = 6
  turned = saved(tmp_path, 't.jpg', np.zeros((20, 30, 3), np.uint8), exif=exif)
  with pytest.raises(ValueError, match=r'60 x 40 pixels.*t\.jpg has 20 x 30'):
    MASK.suited(column(tmp_path, [mask], [turned]), {})


def test_a_cell_becomes_classes(tmp_path):
  head = MASK.make(OPTIONS, ASKS)
  numbers = rng().choice([0, 3, 7, 255], (SIZE, SIZE)).astype(np.uint8)
  read = head.read(saved(tmp_path, 'a.png', numbers))
  expected = np.select(
    [numbers == 0, numbers == 3, numbers == 7], [0, 1, 2], -1
  )
  np.testing.assert_array_equal(read['label_image'], expected)
  spec = head.target['label_image']
  assert (spec.shape, spec.dtype) == ((SIZE, SIZE), np.int32)
  numbers[0, 0] = 5
  with pytest.raises(ValueError, match=r'the number 5, which no .* 0, 3, 7'):
    head.read(saved(tmp_path, 'a.png', numbers))


# The loss.


def test_the_loss_is_cross_entropy_and_dice():
  logits = rng().normal(size=(3, SIZE, SIZE, 3))
  truth = random_masks(n=3)
  truth[1][truth[1] == 2] = 0  # A class that is not there.
  expected = []
  for chances, true in zip(
    scipy.special.softmax(logits, axis=-1), truth, strict=True
  ):
    chances, true = chances[true >= 0], true[true >= 0]
    entropy = sklearn.metrics.log_loss(true, chances, labels=[0, 1, 2])
    dice = [
      2
      * chances[true == c, c].sum()
      / (chances[:, c].sum() + (true == c).sum())
      for c in np.unique(true)
    ]
    expected.append(entropy + 1 - np.mean(dice))
  losses = mask_loss(jnp.asarray(logits, jnp.float32), truth)
  np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_ignored_pixels_weigh_nothing():
  logits = jnp.asarray(rng().normal(size=(2, SIZE, SIZE, 3)), jnp.float32)
  truth = random_masks(n=2)
  gradients = slopes(logits, truth)
  assert not np.asarray(gradients)[truth < 0].any()
  assert np.abs(np.asarray(gradients)[truth >= 0]).min() > 0
  nothing = mask_loss(logits, np.full_like(truth, -1))
  np.testing.assert_array_equal(nothing, [0.0, 0.0])
  gradients = slopes(logits, np.full_like(truth, -1))
  assert not np.asarray(gradients).any()


# Metrics.


def collected(logits, truth):
  head = MASK.make(OPTIONS, ASKS)
  kept = head.collect(as_outputs(logits), {'label_image': truth})
  return head, {name: np.asarray(x) for name, x in kept.items()}


def test_the_truth_scores_exactly_one():
  truth = random_masks()
  # Pixels that are ignored may be anything.
  said = np.where(truth < 0, rng(9).integers(0, 3, truth.shape), truth)
  head, kept = collected(np.eye(3)[said], truth)
  assert head.metrics(kept) == {'mean_iou': 1.0, 'pixel_accuracy': 1.0}
  loss = head.loss(as_outputs(100 * np.eye(3)[said]), {'label_image': truth})
  np.testing.assert_allclose(loss, 0.0, atol=1e-5)


def test_metrics_are_those_of_scikit_learn():
  truth = random_masks()
  logits = rng(3).normal(size=(*truth.shape, 3)) + np.eye(3)[truth]
  head, kept = collected(logits, truth)
  known, said = truth >= 0, logits.argmax(axis=-1)
  metrics = head.metrics(kept)
  expected = sklearn.metrics.jaccard_score(
    truth[known], said[known], average='macro'
  )
  assert metrics['mean_iou'] == pytest.approx(expected, abs=1e-12)
  expected = sklearn.metrics.accuracy_score(truth[known], said[known])
  assert metrics['pixel_accuracy'] == pytest.approx(expected, abs=1e-12)
  constant = {
    'mean_iou': sklearn.metrics.jaccard_score(
      truth[known], 0 * said[known], average='macro'
    ),
    'pixel_accuracy': np.mean(truth[known] == 0),
  }
  for predictor, name, score in head.baselines(kept):
    assert predictor == 'commonest class'
    assert score == pytest.approx(constant[name], abs=1e-12)
  each = head.columns(kept)
  for i in range(len(truth)):
    score = sklearn.metrics.jaccard_score(
      truth[i][known[i]], said[i][known[i]], average='macro'
    )
    assert each['mean_iou'][i] == pytest.approx(score, abs=1e-12)


def test_a_class_that_never_occurs_does_not_count():
  truth = np.zeros((1, SIZE, SIZE), np.int32)
  truth[:, :6] = 1
  head, kept = collected(np.eye(3)[truth], truth)
  assert head.metrics(kept)['mean_iou'] == 1.0
  assert not head.answer.is_lower_better(head.score)


def test_the_report_has_a_row_a_class():
  truth = random_masks()
  head, kept = collected(np.eye(3)[truth], truth)
  (section,) = head.sections(kept, 'Of 5 images')
  table = Page(section.body).table_with('IoU')
  assert [row[0] for row in table[1:]] == ['ground', 'tree', '<b>']
  share = (truth == 1).sum() / (truth >= 0).sum()
  assert table[2][1:] == [' 1', '1', '1', '1', f'{share:.2%}', '5']


def test_a_caption_shows_both_masks():
  truth = np.zeros((1, SIZE, SIZE), np.int32)
  truth[:, :6], truth[:, -3:] = 2, -1
  head, kept = collected(np.eye(3)[np.zeros_like(truth)], truth)
  one = {name: x[0] for name, x in kept.items()}
  caption = Page(head.caption(one))
  # Two classes, of which one is 15 of 21 rows, and found in all of them.
  assert caption.words == (
    f'IoU {15 / 21 / 2:.2f}, {15 / 21:.1%} of pixelsModel:groundTrue:ground<b>'
  )
  true = pixels_of(caption.links[1])
  assert (true[-3:] == 255).all()
  assert (true[6:-3] == 128).all()
  assert len(np.unique(true[:6].reshape(-1, 3), axis=0)) == 1
  assert (true[0, 0] != true[10, 0]).any()


def test_cells_are_those_of_the_sense_where_the_elements_do_not_say():
  asks = {name: x for name, x in ASKS.items() if name != 'cell'}
  head = MASK.make(OPTIONS, {**asks, 'max_patches': SIZE // CELL})
  assert head.channels == CELL * CELL * 3 and head.num_queries is None


# Changes of training.


def test_an_image_changes_as_it_would_without_a_mask():
  head = MASK.make(OPTIONS, ASKS)
  sense = image_files(
    None,
    max_image_size=SIZE,
    **{key: ASKS[key] for key in ASKS if key not in ('kind', 'cell')},
  )
  image = rng().integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
  found = {'label_image': random_masks(n=1)[0]}
  for seed in range(4):
    kept, _ = head.align({'image': image}, found, rng(seed))
    alone = sense.augment({'image': image}, rng(seed))
    np.testing.assert_array_equal(sense.prepare(kept)['image'], alone['image'])
  kept, same = head.align({'image': image}, found, None)
  assert kept['image'] is image and same['label_image'] is found['label_image']


def test_a_mask_moves_with_its_image():
  head = MASK.make(OPTIONS, ASKS)
  down, right = np.mgrid[:SIZE, :SIZE]
  # A wedge, which is its own image by no change.
  classes = ((down > 8) & (right > down)).astype(np.int32)
  image = np.where(classes, 255, 64).astype(np.uint8)
  image = np.stack([image] * 3, axis=-1)
  missing = 0
  for seed in range(8):
    kept, found = head.align(
      {'image': image}, {'label_image': classes}, rng(seed)
    )
    seen, moved = kept['image'][..., 0], found['label_image']
    known = moved >= 0
    assert known.mean() > 0.5
    missing += (~known).sum()
    # Bilinear pixels of the border lie between.
    clear = known & ((seen == 255) | (seen == 64))
    np.testing.assert_array_equal(moved[clear], seen[clear] == 255)
    assert clear.sum() > 0.75 * known.sum()
    # Of what lies outside there is less than half.
    assert seen[~known].max(initial=0) <= 128
    assert (moved != classes).any()
  assert missing


# What is told.


def told():
  head = MASK.make(OPTIONS, ASKS)
  classes = np.zeros((SIZE, SIZE), int)
  classes[:6], classes[6:9, :8] = 1, 2
  logits = as_outputs(np.eye(3)[classes][None])[0]
  pixels = rng().integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
  example = {
    'image': ((pixels / 255 - ASKS['mean']) / ASKS['stddev']).astype(np.float32)
  }
  return head, head.tell(logits, example), classes, pixels


def test_shares_and_runs_are_told():
  head, value, classes, _ = told()
  assert [line.split()[:2] for line in MASKS.lines(value, 2)] == [
    ['70.8%', 'ground'],
    ['25.0%', 'tree'],
  ]
  said = MASKS.json(value, 3)
  assert said['shares'] == pytest.approx(
    {'ground': 408 / 576, 'tree': 0.25, '<b>': 24 / 576}
  )
  assert json.loads(json.dumps(said)) == said
  runs = np.array(said['runs'])
  pixels = np.repeat(runs[:, 0], runs[:, 1]).reshape(said['size'])
  np.testing.assert_array_equal(pixels, np.array([0, 3, 7])[classes])
  assert head.cells(value) == pytest.approx(
    {
      ' share(ground)': 408 / 576,
      ' share(tree)': 0.25,
      ' share(<b>)': 24 / 576,
    }
  )


def test_masks_are_written_as_they_are_read(tmp_path):
  head, value, classes, pixels = told()
  numbers, over = MASKS.write(value, tmp_path / 'new', 'a')
  assert numbers.name == 'a.png'
  np.testing.assert_array_equal(head.read(numbers)['label_image'], classes)
  with PIL.Image.open(over) as picture:
    seen = np.asarray(picture)
  factor = len(seen) // SIZE
  assert seen.shape == (factor * SIZE, factor * SIZE, 3) and factor == 11
  # The background is the image itself.
  seen = seen[::factor, ::factor]
  plain = classes == 0
  np.testing.assert_array_equal(seen[plain], pixels[plain])
  assert (seen[~plain] != pixels[~plain]).any(axis=-1).all()


def test_panels_show_the_mask_and_the_image_under_it():
  _, value, classes, pixels = told()
  mask, over = MASKS.panels(value)
  assert (mask.name, over.name) == ('Mask', 'Over the image')
  assert Page(mask.body).words == 'groundtree<b>'
  (link,) = Page(over.body).links
  plain = classes == 0
  np.testing.assert_array_equal(pixels_of(link)[plain], pixels[plain])


# A model.


@pytest.mark.slow
def test_a_model_learns_to_find_a_bright_disc():
  options = {
    **OPTIONS,
    'numbers': [0, 1],
    'names': ['a', 'b'],
    'shares': [1, 0],
  }
  head = MASK.make(options, ASKS)
  down, right = np.mgrid[:SIZE, :SIZE]

  def batch_of(rng):
    centre = rng.uniform(5, SIZE - 5, (2, 16, 1, 1))
    radius = rng.uniform(3, 6, (16, 1, 1))
    disc = np.hypot(down - centre[0], right - centre[1]) < radius
    image = disc[..., None] + rng.normal(0, 0.7, (16, SIZE, SIZE, 3))
    there = np.ones(16, bool)
    return (
      image.astype(np.float32),
      there,
      {'label_image': disc.astype(np.int32)},
    )

  model = learned(
    head,
    lambda: ImageWindows(
      cell=CELL,
      positions=FourierPositions(num_bands=3, max_resolution=(6, 6)),
    ),
    batch_of,
    steps=60,
  )
  image, there, target = batch_of(rng(99))
  kept = head.collect(model(image, there), target)
  score = head.metrics(kept)['mean_iou']
  # Pixels alone, by the best threshold of their mean colour.
  alone = (image.mean(axis=-1) > 0.5).ravel()
  by_threshold = sklearn.metrics.jaccard_score(
    target['label_image'].ravel(), alone, average='macro'
  )
  assert score > by_threshold + 0.05
