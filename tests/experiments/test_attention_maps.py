"""Maps of attention: numbers, cells, pictures, the page's data, the command."""

import base64
import json
import re

import jax
import numpy as np
import pytest

from experiments import attention_maps as command
from experiments.attention.figure import attention_figure
from experiments.attention.maps import (
  chosen_latents,
  coverage,
  entropy,
  levels,
  summed,
)
from experiments.attention.maps_of import AttentionOf
from experiments.attention.page import attention_page
from experiments.configs import bunny, declaration, digits, flow
from experiments.data.modality import divided
from experiments.modalities.images.view import Image
from experiments.modalities.sound.view import Sound
from experiments.modalities.text.attention import characters
from experiments.modalities.video.view import Video
from experiments.pages.pictures import write_picture
from perceiver_jax.attention_weights import with_lookups
from perceiver_jax.tokenizer import MASK, ByteTokenizer
from tests.attention_examples import TEXT, maps_of, random_maps
from tests.small_runs import random_run

KINDS = (
  'image',
  'video',
  'frames',
  'sound',
  'spectrogram',
  'series',
  'events',
  'points',
  'text',
)


def rng(seed=0):
  return np.random.default_rng(seed)


def test_entropy_of_some_alike_is_the_logarithm_of_their_number():
  weights = np.zeros((3, 8), np.float32)
  for row, count in enumerate((1, 4, 8)):
    weights[row, :count] = 1 / count
  np.testing.assert_allclose(
    entropy(weights), np.log([1, 4, 8]), rtol=1e-6, atol=1e-12
  )


def test_coverage_counts_the_fewest_inputs_with_nine_tenths():
  weights = np.array(
    [[0.0, 1.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25], [0.05, 0.8, 0.05, 0.1]]
  )
  np.testing.assert_allclose(coverage(weights, 4), [0.25, 1.0, 0.5])
  # Padding is no input.
  np.testing.assert_allclose(coverage(np.array([0.5, 0.5, 0.0]), 2), 1.0)


def test_a_small_grid_is_not_divided():
  assert divided((3, 4), 12) == ((0, 1, 2), (0, 1, 2, 3))


@pytest.mark.parametrize('shape', [(224, 224), (50176,), (16, 56, 56), (7, 9)])
def test_cells_keep_all_weight(shape):
  starts = divided(shape, 60)
  cells = tuple(map(len, starts))
  assert np.prod(cells) <= 60
  weights = rng().random((2, *shape))
  result = summed(weights, starts)
  assert result.shape == (2, *cells)
  np.testing.assert_allclose(
    result.reshape(2, -1).sum(axis=1),
    weights.reshape(2, -1).sum(axis=1),
    rtol=1e-5,
  )
  # The first cell is the corner up to the second cell's start.
  corner = weights[(0, *(slice(each[1]) for each in starts))]
  np.testing.assert_allclose(result.reshape(2, -1)[0, 0], corner.sum(), 1e-5)


def test_the_most_different_latents_look_at_different_places():
  flat = np.full((1, 6, 96), 1e-6)
  for latent, pixel in enumerate((3, 3, 40, 3, 40, 80)):
    flat[0, latent, pixel] = 1.0
  flat[0, 0, 4] = 0.5  # So that another is the first.
  flat /= flat.sum(axis=-1, keepdims=True)
  maps = maps_of(['image'], flat)
  chosen = maps.most_different(3)
  assert chosen[0] == 1
  assert {int(flat[0, i].argmax()) for i in chosen} == {3, 40, 80}
  assert sorted(maps.most_different(99)) == list(range(6))


def test_lifts_are_one_where_all_get_the_same():
  """Whatever the sizes of the modalities: 96 pixels and 20 patches."""
  maps = maps_of(['image', 'sound'], np.full((2, 3, 116), 1 / 116))
  for lift in maps.lifts([0, 2]).values():
    assert lift.shape[:2] == (2, 3)
    np.testing.assert_allclose(lift, 1.0, rtol=1e-5)


def test_levels_have_one_scale_over_all_modalities():
  flat = np.zeros((1, 1, 116))
  flat[0, 0, 5], flat[0, 0, 96] = 0.8, 0.2
  bright, highest = levels(maps_of(['image', 'sound'], flat).lifts([0]))
  assert bright['image'][0, 1].max() == 1.0
  np.testing.assert_allclose(bright['sound'][0, 1].max(), 0.5, rtol=1e-6)
  np.testing.assert_allclose(highest, 0.8 * 116, rtol=1e-6)


def test_looking_at_all_alike_is_half_as_bright():
  maps = maps_of(['image'], np.full((1, 1, 96), 1 / 96))
  np.testing.assert_allclose(levels(maps.lifts([0]))[0]['image'], 0.5, 1e-5)


def test_latents_are_asked_for_by_number():
  maps = random_maps('sound')
  assert chosen_latents(maps, [3, 0, 3], 8) == [3, 0]
  assert chosen_latents(maps, None, 2) == sorted(maps.most_different(2))
  for wrong in ([5], [-1], []):
    with pytest.raises(ValueError, match='are 0 to 4'):
      chosen_latents(maps, wrong, 8)


def test_bytes_of_a_character_belong_together():
  tokens = ByteTokenizer().encode('aß€')
  assert characters(tokens) == (('a', 'ß', '€'), (0, 1, 3))
  # A mask ends a character; what is no UTF-8 is shown as that.
  cut = [*tokens[:2], MASK, *tokens[2:]]
  assert characters(cut)[0] == ('a', '\ufffd', '▢', '\ufffd', '€')


@pytest.mark.parametrize('kind', KINDS)
def test_every_kind_of_input_is_drawn(kind):
  maps = random_maps(kind)
  picture = attention_figure('A title', maps, kind, [0, 3])
  assert picture.dtype == np.uint8
  other = attention_figure('A title', maps, kind, [0, 4])
  assert other.shape == picture.shape
  assert (other != picture).any()


def data_of(page):
  (data,) = re.findall(
    r'<script type="application/json" id="data">(.*)</script>\n<script>', page
  )
  return json.loads(data)


def test_the_page_holds_the_weights_to_eight_bits():
  maps = random_maps('image', 'sound')
  page = attention_page('A title', maps, latents=[4, 1])
  data = data_of(page)
  assert data['latents'] == [4, 1]
  lifts = maps.lifts([4, 1])
  highest = np.reshape(data['full'], (2, 3))
  for each in data['inputs']:
    stored = np.frombuffer(base64.b64decode(each['levels']), np.uint8)
    stored = (stored.reshape(2, 3, -1) / 255) ** 2 * highest[..., None]
    exact = lifts[each['name']].reshape(2, 3, -1)
    # Half a step of a root is this much of the highest at most.
    np.testing.assert_allclose(stored, exact, atol=0.0042 * highest.max())
  np.testing.assert_allclose(
    np.reshape(data['coverage'], (2, 3))[:, 1:],
    maps.coverage[:, [4, 1]],
    atol=1e-4,
  )


def test_texts_do_not_end_the_script():
  page = attention_page('</script><em>', random_maps('text'), note='<b>&')
  assert page.count('</script>') == 2
  assert '<em>' not in page
  assert '&lt;b&gt;&amp;' in page
  assert data_of(page)['inputs'][0]['pieces'] == list(TEXT)


def test_a_page_has_at_most_64_latents():
  maps = random_maps('sound', latents=70)
  assert len(data_of(attention_page('', maps))['latents']) == 64


def small_digits(variant='perceiver'):
  config = digits.get_config(variant)
  config.encoder.update(
    num_latents=6,
    latent_channels=8,
    self_attends_per_block=1,
    cross_attend_qk_channels=8,
  )
  return config


@pytest.fixture(scope='module')
def digits_run():
  return random_run(small_digits('perceiver_permuted'))


@pytest.fixture(scope='module')
def digit():
  return {'image': rng(1).normal(size=(28, 28, 1)).astype(np.float32)}


@pytest.fixture(scope='module')
def digit_maps(digits_run, digit):
  return AttentionOf(digits_run)(digit)


def test_maps_of_a_run_are_its_weights(digits_run, digit, digit_maps):
  assert isinstance(digit_maps.modalities['image'].view, Image)
  batch = {'image': digit['image'][None]}
  _, lookups = jax.jit(
    lambda params: with_lookups(digits_run.task.model.apply)(
      params, digits_run.state, None, batch, is_training=False
    )
  )(digits_run.params)
  order = rng(0).permutation(784)  # Of the permuted pixels.
  for depth in range(2):
    weights = np.asarray(lookups.weights(depth))[0, 0]
    placed = np.zeros_like(weights)
    placed[:, order] = weights
    np.testing.assert_allclose(
      digit_maps.modalities['image'].weights[depth],
      placed.reshape(6, 28, 28),
      atol=1e-6,
    )
    np.testing.assert_allclose(
      digit_maps.entropy[depth], entropy(weights), rtol=1e-4
    )
  np.testing.assert_allclose(digit_maps.shares['image'], 1.0, rtol=1e-5)
  assert digit_maps.num_inputs == 784


def test_a_text_has_a_cell_for_each_character():
  config = declaration.get_config()
  config.data.update(length=24, min_length=8)
  config.embedding.update(num_channels=8, max_length=24)
  config.encoder.update(
    num_latents=4,
    latent_channels=8,
    cross_attends=(1,),
    self_attends_per_block=1,
    cross_attend_heads=1,
    self_attend_heads=1,
  )
  config.queries.num_channels = 8
  run = random_run(config)
  (example,) = run.task.data.files.from_text('Grüß Gott'.encode())
  maps = AttentionOf(run)(example)
  (modality,) = maps.modalities.values()
  assert modality.labels == tuple('Grüß Gott')
  assert maps.num_inputs == 11  # Bytes; the rest is padding.
  np.testing.assert_allclose(modality.weights.sum(axis=-1), 1.0, atol=1e-5)
  assert maps.coverage.max() <= 1.0


def test_a_film_is_seen_and_heard():
  config = bunny.get_config()
  config.encoder.update(
    num_latents=4,
    latent_channels=8,
    self_attends_per_block=1,
    self_attend_heads=1,
  )
  run = random_run(config)
  example = {
    'image': rng(1).random((4, 64, 64, 3), np.float32),
    'audio': rng(2).normal(size=2560).astype(np.float32),
  }
  maps = AttentionOf(run)(example)
  assert list(maps.modalities) == ['audio', 'image']
  sound, film = maps.modalities.values()
  assert isinstance(sound.view, Sound)
  assert isinstance(film.view, Video)
  assert (sound.cells, film.cells) == ((40,), (2, 8, 8))
  total = maps.shares['audio'] + maps.shares['image']
  np.testing.assert_allclose(total, 1.0, atol=1e-5)
  np.testing.assert_allclose(
    film.weights.sum(axis=(2, 3, 4)), maps.shares['image'], atol=1e-5
  )


def test_of_large_frames_the_centre_is_shown():
  config = flow.get_config('embedded')
  config.data.update(height=16, width=24)
  config.preprocessor.num_channels = 8
  config.preprocessor.positions.update(num_bands=2, max_resolution=(4, 6))
  config.encoder.update(
    num_latents=4, latent_channels=8, self_attends_per_block=1
  )
  config.decoder.update(qk_channels=8, v_channels=8)
  run = random_run(config)
  frames = rng(1).uniform(-1, 1, (2, 20, 30, 3)).astype(np.float32)
  maps = AttentionOf(run)({'frames': frames})
  modality = maps.modalities['frames']
  assert modality.cells == (1, 4, 6)  # Both frames together, a quarter as wide.
  np.testing.assert_allclose(
    modality.view.frames, (frames[:, 2:18, 3:27] + 1) * 127.5, atol=0.51
  )
  with pytest.raises(ValueError, match='16 x 24'):
    AttentionOf(run)({'frames': frames[:, :12]})


def test_other_models_are_refused():
  config = digits.get_config('resnet')
  with pytest.raises(ValueError, match='no Perceiver'):
    AttentionOf(random_run(config))


def test_the_command_writes_a_page_and_pictures(digit_maps, tmp_path):
  paths = command.write_maps('T', 'N', digit_maps, None, tmp_path / 'a' / 'b')
  assert [path.name for path in paths] == ['attention.html', 'image.png']
  assert all(path.stat().st_size > 10_000 for path in paths)
  assert data_of(paths[0].read_text())['latents'] == list(range(6))
  numbers = json.loads(json.dumps(command.numbers_of(digit_maps)))
  assert np.shape(numbers['entropy']) == (2, 6)
  assert 'shares' not in numbers  # There is one modality.


def test_held_out_examples_and_parts_are_numbered(digits_run):
  name, example = command.choose_example(digits_run, (), 3)
  assert name == 'example_3'
  assert example['image'].shape == (28, 28, 1)
  with pytest.raises(ValueError, match='0 to 999'):
    command.choose_example(digits_run, (), 1000)


def test_a_file_gives_its_name(digits_run, tmp_path):
  path = tmp_path / 'seven.png'
  picture = np.zeros((28, 28, 3), np.uint8)
  picture[5:20, 12:16] = 255
  write_picture(picture, path)
  name, example = command.choose_example(digits_run, (str(path),), 0)
  assert name == 'seven'
  assert example['image'].shape == (28, 28, 1)
  with pytest.raises(ValueError, match='0 to 0'):
    command.choose_example(digits_run, (str(path),), 1)
