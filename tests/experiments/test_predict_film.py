"""Films in, their reconstruction out; and what is written can be played."""

import math

import av
import cv2
import numpy as np
import pytest

from experiments import predict
from experiments.answers.classes.value import Classes
from experiments.answers.reconstruction.metrics import decibels
from experiments.answers.reconstruction.record import RECONSTRUCTION
from experiments.answers.reconstruction.tell import tell_clips
from experiments.answers.reconstruction.value import Reconstruction
from experiments.configs import bunny as config_module
from experiments.data.dataset import DataSpec
from experiments.datasets import kinetics
from experiments.datasets.bunny import STDDEV, view_clip
from experiments.files.media import decode_audio, decode_frames
from experiments.modalities.sound.view import Sound
from experiments.modalities.text.view import Text
from experiments.modalities.video.drawing import film_frames
from experiments.modalities.video.view import Video
from tests.media_files import (
  GREYS,
  grey_frames,
  psnr,
  sine,
  smooth_frames,
  write_media,
  write_tone,
)
from tests.small_runs import random_run


def rng(seed=0):
  return np.random.default_rng(seed)


@pytest.fixture(scope='module')
def run():
  config = config_module.get_config()
  for positions in (
    config.inputs.audio.positions,
    config.inputs.image.positions,
    config.queries.audio.positions,
    config.queries.image.positions,
  ):
    positions.num_bands = 2
  config.encoder.update(
    num_latents=4,
    latent_channels=16,
    self_attends_per_block=1,
    cross_attend_qk_channels=16,
  )
  config.decoder.update(qk_channels=16, v_channels=16)
  config.decoding.query_min_padding = 3
  return random_run(config, stddev=0.1)


# Files.


def test_films_that_cannot_be_taken(run, tmp_path):
  short = write_tone(
    tmp_path / 'short.mp4', frames=grey_frames(GREYS[:3], 64, 64)
  )
  with pytest.raises(ValueError, match=f'{short} has 3 frames .* takes 4'):
    run.predict(short)
  sound = write_media(
    tmp_path / 'sound.mp4', samples=sine(500, 0.2, 16_000)[None]
  )
  with pytest.raises(ValueError, match=f'{sound} has no video'):
    run.predict(sound)
  broken = tmp_path / 'broken.mp4'
  broken.write_bytes(b'nothing of a film')
  with pytest.raises(ValueError, match=f'{broken} cannot be decoded'):
    run.predict(broken)
  picture = tmp_path / 'picture.png'
  picture.write_bytes(b'')
  with pytest.raises(ValueError, match=f'{picture}: this run reads .mp4'):
    run.predict(picture)


# Answers.


def clips(seed, count):
  draws = rng(seed)
  return [
    {
      'image': draws.random((4, 8, 8, 3), np.float32),
      'audio': draws.normal(0, 2, 2560).astype(np.float32),
    }
    for _ in range(count)
  ]


def test_clips_are_put_together_and_compared():
  spec = DataSpec(example={}, num_classes=None, load=None, view=view_clip)
  originals, made = clips(0, 3), clips(1, 3)
  for each in made:  # Models may give samples an axis of their own.
    each['audio'] = each['audio'].reshape(40, 64)
  answer = tell_clips(spec, {'audio': 1 / STDDEV, 'image': 1.0})(
    made, originals
  )
  assert answer.classes is None
  for views, parts in (
    (answer.original, originals),
    (answer.reconstruction, made),
  ):
    video, sound = views['image'], views['audio']
    frames = np.concatenate([each['image'] for each in parts])
    np.testing.assert_array_equal(video.frames, np.rint(frames * 255))
    samples = np.concatenate([each['audio'].reshape(-1) for each in parts])
    np.testing.assert_allclose(
      sound.samples, np.clip(samples * STDDEV, -1, 1), rtol=1e-6
    )
    assert (video.rate, sound.rate) == (25, 16_000)
  for name, peak in (('audio', 1 / STDDEV), ('image', 1.0)):
    pairs = [
      np.stack([np.ravel(x[name]) for x in parts])
      for parts in (originals, made)
    ]
    assert answer.decibels[name] == pytest.approx(psnr(peak, *pairs), rel=1e-6)


def test_values_out_of_range_are_white_and_black():
  example = {
    'image': np.tile(np.float32([-0.5, 0.5, 1.5]), (4, 8, 8, 1)),
    'audio': np.float32([-2, 0, 0.5]) / STDDEV,
  }
  seen = view_clip(example)
  assert (seen['image'].frames == [0, 128, 255]).all()
  np.testing.assert_allclose(seen['audio'].samples, [-1, 0, 0.5], rtol=1e-6)


def test_classes_are_the_mean_over_clips():
  spec = DataSpec(
    example={},
    num_classes=3,
    load=None,
    class_names=('run', 'jump', 'sing'),
    view=kinetics.view_clip,
  )
  originals, made = clips(0, 2), clips(1, 2)
  made[0]['label'] = np.log(np.float32([8, 1, 1]))
  made[1]['label'] = np.log(np.float32([2, 6, 2]))
  answer = tell_clips(spec, {'audio': 1.0, 'image': 1.0})(made, originals)
  assert answer.classes.names == ('run', 'jump', 'sing')
  np.testing.assert_allclose(
    answer.classes.probabilities, [0.5, 0.35, 0.15], rtol=1e-5
  )
  assert set(answer.original) == {'audio', 'image'}
  lines = RECONSTRUCTION.lines(answer, 1)
  assert len(lines) == 3 and lines[2].split()[:2] == ['50.0%', 'run']
  assert RECONSTRUCTION.json(answer, 1)['classes'][0]['name'] == 'run'


def test_decibels_of_nothing_and_of_no_number():
  assert decibels(100.0) == 20.0 and decibels(0.0) == -math.inf
  assert math.isnan(decibels(math.nan))


def test_other_views_do_not_join():
  spec = DataSpec(
    example={}, num_classes=None, load=None, view=lambda _: {'a': Text(b'')}
  )
  with pytest.raises(TypeError, match='Text do not join'):
    tell_clips(spec, {'a': 1.0})([{'a': np.ones(2)}], [{'a': np.ones(2)}])


def test_a_run_reconstructs_a_film(run, tmp_path):
  path = write_tone(tmp_path / 'film.mp4')
  ((_, answer),) = predict.answers(run, [str(path)], [])
  examples = run.read(path)
  batch = {
    name: np.stack([each[name] for each in examples])
    for name in ('audio', 'image')
  }
  made = {name: np.asarray(x) for name, x in run(batch).items()}
  assert made['image'].std() > 1e-3
  frames = made['image'].reshape(8, 64, 64, 3)
  np.testing.assert_array_equal(
    answer.reconstruction['image'].frames,
    np.rint(np.clip(frames, 0, 1) * 255),
  )
  assert answer.decibels['image'] == pytest.approx(
    psnr(1.0, batch['image'], made['image']), rel=1e-5
  )
  assert answer.decibels['audio'] == pytest.approx(
    psnr(1 / 0.07, batch['audio'], made['audio'].reshape(2, -1)), rel=1e-5
  )


# What is written.


def film_answer(count=20, classes=None):
  videos = [smooth_frames(count, 64, 64), smooth_frames(count, 64, 64)[::-1]]
  times = np.arange(count * 640) / 16_000
  sounds = [
    0.5 * np.sin(2 * np.pi * pitch * times, dtype=np.float32)
    for pitch in (500, 1000)
  ]
  original, made = (
    {'audio': Sound(sound, 16_000), 'image': Video(video, 25)}
    for video, sound in zip(videos, sounds, strict=True)
  )
  return Reconstruction(original, made, {'audio': 3.0, 'image': 25.04}, classes)


def pitch_of(path):
  samples = decode_audio(path, 16_000)
  spectrum = np.abs(np.fft.rfft(samples))
  return spectrum.argmax() * 16_000 / len(samples)


def test_the_original_is_played_beside_the_reconstruction(tmp_path):
  answer = film_answer()
  film, before, picture = RECONSTRUCTION.write(answer, tmp_path / 'new', 'a.b')
  assert [path.name for path in (film, before, picture)] == [
    'a.b.mp4',
    'a.b_original.mp4',
    'a.b.png',
  ]
  left, right = (
    views['image'].frames for views in (answer.original, answer.reconstruction)
  )
  frames = decode_frames(film, frame_rate=25)
  assert frames.shape == (20, 256, 512, 3)
  # Each pixel is four by four.
  small = frames.reshape(20, 64, 4, 128, 4, 3).mean(axis=(2, 4))
  assert psnr(255, left, small[:, :, :64]) > 30
  assert psnr(255, right, small[:, :, 64:]) > 30
  assert pitch_of(film) == pytest.approx(1000, abs=4)
  alone = decode_frames(before, frame_rate=25)
  assert alone.shape == (20, 256, 256, 3)
  assert pitch_of(before) == pytest.approx(500, abs=4)
  # Eight of the frames, from the first to the last, enlarged twice.
  drawn = cv2.imread(str(picture))[..., ::-1]
  assert drawn.shape == (128 + 128 + 64 + 64, 8 * 128, 3)
  np.testing.assert_array_equal(drawn[:128:2, :128:2], left[0])
  np.testing.assert_array_equal(drawn[:128:2, -128::2], left[-1])
  np.testing.assert_array_equal(drawn[128:256:2, -128::2], right[-1])


def test_films_without_sound_and_sounds_without_film(tmp_path):
  answer = film_answer()
  seen = answer._replace(
    original={'image': answer.original['image']},
    reconstruction={'image': answer.reconstruction['image']},
  )
  film, *_ = RECONSTRUCTION.write(seen, tmp_path, 'seen')
  with av.open(str(film)) as container:
    assert [stream.type for stream in container.streams] == ['video']
  heard = answer._replace(
    original={'audio': answer.original['audio']},
    reconstruction={'audio': answer.reconstruction['audio']},
  )
  (picture,) = RECONSTRUCTION.write(heard, tmp_path, 'heard')
  assert cv2.imread(str(picture)).shape == (128, 512, 3)


def test_ratios_in_words_and_numbers():
  answer = film_answer(classes=Classes(('a', 'b'), np.float32([0.25, 0.75])))
  lines = RECONSTRUCTION.lines(answer, 1)
  assert lines[:2] == [
    'audio: 3.0 dB of the original',
    'image: 25.0 dB of the original',
  ]
  assert lines[2].split()[:2] == ['75.0%', 'b']
  assert RECONSTRUCTION.json(answer, 1) == {
    'decibels': {'audio': 3.0, 'image': 25.04},
    'classes': [{'name': 'b', 'probability': 0.75}],
  }


def test_large_frames_are_not_enlarged():
  videos = [Video(np.full((2, 256, 30, 3), x, np.uint8), 25) for x in (1, 2)]
  frames = film_frames(*videos)
  assert frames.shape == (2, 256, 60, 3)
  assert (frames[:, :, :30] == 1).all() and (frames[:, :, 30:] == 2).all()
