"""Films as they are written, and as clips that a person's file becomes."""

import av
import numpy as np
import pytest

from experiments.datasets import kinetics
from experiments.datasets.bunny import STDDEV, bunny
from experiments.files.media import decode_audio, decode_frames
from experiments.modalities.video.files import Film, clip_starts, write_film
from tests.media_files import (
  GREYS,
  TONE_SECONDS,
  grey_frames,
  psnr,
  sine,
  smooth_frames,
  write_media,
  write_tone,
)


@pytest.fixture(scope='module')
def files():
  return bunny(
    None,
    num_frames=4,
    max_sound_shift=0,
    max_gain_decibels=0.0,
    random_polarity=False,
    extrapolation=0.0,
    blend_nodes=1,
  ).files


# Writing.


def test_a_written_film_is_read_back(tmp_path):
  path = tmp_path / 'film.mp4'
  frames = smooth_frames(10, 48, 64)
  # A tone that rises: it is like itself at no other time.
  times = np.arange(round(TONE_SECONDS * 16_000)) / 16_000
  samples = 0.5 * np.sin(2 * np.pi * (300 + 1500 * times) * times)
  write_film(path, frames, 25, samples=samples, sample_rate=16_000)
  with av.open(str(path)) as container:
    video, sound = container.streams
    assert (video.type, video.codec_context.name) == ('video', 'h264')
    assert (sound.type, sound.codec_context.name) == ('audio', 'aac')
    assert video.frames == 10 and video.average_rate == 25
    assert video.codec_context.pix_fmt == 'yuv420p'
    assert float(video.duration * video.time_base) == TONE_SECONDS
    np.testing.assert_allclose(
      float(sound.duration * sound.time_base), TONE_SECONDS, atol=0.07
    )
  # Players need the index first.
  data = path.read_bytes()
  assert data.index(b'moov') < data.index(b'mdat')
  np.testing.assert_allclose(
    decode_frames(path, frame_rate=25).astype(float).mean(axis=(1, 2)),
    frames.mean(axis=(1, 2)),
    atol=4,
  )
  assert psnr(255, frames, decode_frames(path, frame_rate=25)) > 30
  # No delay of the codec is heard.
  heard = decode_audio(path, 16_000)
  inner = slice(1024, len(samples) - 1024)
  assert psnr(0.5, samples[inner], heard[: len(samples)][inner]) > 25


def test_odd_sides_and_silent_films_are_written(tmp_path):
  path = tmp_path / 'film.mp4'
  write_film(path, grey_frames(GREYS, 33, 47), 30000 / 1001)
  with av.open(str(path)) as container:
    (video,) = container.streams
    assert (video.width, video.height, video.frames) == (48, 34, 10)
    np.testing.assert_allclose(float(video.average_rate), 29.97, atol=1e-3)


# Reading.


def test_a_film_becomes_clips_like_those_of_the_data(files, tmp_path):
  path = write_tone(tmp_path / 'film.mp4')
  clips = files.read(path)
  assert len(clips) == 2  # Of four frames; the last two are left out.
  for i, clip in enumerate(clips):
    assert clip['image'].shape == (4, 64, 64, 3)
    assert clip['audio'].shape == (2560,)
    assert clip['image'].dtype == clip['audio'].dtype == np.float32
    np.testing.assert_allclose(
      clip['image'].mean(axis=(1, 2, 3)), GREYS[4 * i :][:4] / 255, atol=0.02
    )
  # The loudest sample is that of the data, however loud the film is.
  whole = np.concatenate([clip['audio'] for clip in clips])
  assert 0.9 / STDDEV < np.abs(whole).max() <= 1.001 / STDDEV
  heard = decode_audio(path, 16_000)
  np.testing.assert_allclose(
    whole * STDDEV, heard[: len(whole)] / np.abs(heard).max(), rtol=1e-3
  )


def test_wide_films_are_cut_square_and_rates_are_changed(files, tmp_path):
  # Twice as fast; grey only in the middle.
  frames = grey_frames(np.full(20, 200), 96, 192)
  frames[:, :, :48], frames[:, :, 144:] = 0, 255
  path = tmp_path / 'wide.mp4'
  write_media(
    path,
    frames=frames,
    frame_rate=50,
    samples=sine(500, TONE_SECONDS, 48_000)[None].repeat(2, axis=0),
  )
  clips = files.read(path)
  assert len(clips) == 2
  for clip in clips:
    # A column on each side is smoothed into its neighbour.
    inner = clip['image'][:, 2:-2, 2:-2]
    np.testing.assert_allclose(inner, 200 / 255, atol=0.03)


def test_a_film_without_sound_is_silent(files, tmp_path):
  clips = files.read(write_tone(tmp_path / 'film.mp4', seconds=None))
  assert len(clips) == 2 and not any(clip['audio'].any() for clip in clips)
  # Sound that ends too early is followed by silence.
  first, second = files.read(write_tone(tmp_path / 'a.mp4', seconds=0.16))
  assert first['audio'].any() and not second['audio'][1200:].any()


def test_only_the_beginning_of_a_long_film_is_read(files, tmp_path):
  frames = grey_frames(np.full(530, 90), 16, 16)
  path = write_media(tmp_path / 'long.mp4', frames=frames)
  assert len(files.read(path)) == 20 * 25 // 4


def test_clips_follow_each_other():
  film = Film(np.zeros((11, 2, 2, 3), np.uint8), np.zeros(11, np.float32))
  assert list(clip_starts(film, 4, 'a')) == [0, 4]
  assert list(clip_starts(film, 11, 'a')) == [0]


def test_kinetics_reads_videos_as_it_prepares_them(tmp_path):
  greys = np.linspace(30, 210, 20).round()
  frames = grey_frames(greys, 96, 128)
  path = write_tone(tmp_path / 'a.mp4', frames=frames, seconds=0.8, rate=48_000)
  first, second = kinetics.read_clips(path, 8, 32)
  for i, clip in enumerate((first, second)):
    assert clip['image'].shape == (8, 32, 32, 3)
    assert clip['audio'].shape == (8 * 1920,)
    np.testing.assert_allclose(
      clip['image'].mean(axis=(1, 2, 3)), greys[8 * i :][:8] / 255, atol=0.02
    )
    assert clip['label'] == 0 and clip['label'].dtype == np.int32
  # As loud as it is, unlike Bunny.
  np.testing.assert_array_equal(
    np.concatenate([first['audio'], second['audio']]),
    decode_audio(path, 48_000)[: 16 * 1920],
  )
  seen = kinetics.view_clip(first)
  assert (seen['image'].rate, seen['audio'].rate) == (25, 48_000)
  np.testing.assert_array_equal(seen['audio'].samples, first['audio'])
