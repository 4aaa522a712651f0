"""Sound and frames of media files, encoded here in their real formats."""

import struct

import av
import numpy as np
import pytest

from experiments.files.media import decode_audio, decode_frames, has_video
from tests.media_files import grey_frames, sine, write_media

VIDEO = ('.mp4', '.webm', '.mkv', '.avi')
AUDIO = ('.wav', '.flac', '.ogg', '.mp3', *VIDEO)
# Two seconds at 25 Hz: frame i has the grey 4 i + 20.
GREYS = 4 * np.arange(50) + 20


@pytest.fixture(scope='module')
def files(tmp_path_factory):
  """A file of each kind: two seconds of 440 Hz, and of frames."""
  folder = tmp_path_factory.mktemp('media')
  sound = sine(440.0, 2.0, 48_000)
  return {
    suffix: write_media(
      folder / f'two_seconds{suffix}',
      frames=grey_frames(GREYS) if suffix in VIDEO else None,
      samples=np.stack([sound, sound]),
    )
    for suffix in AUDIO
  }


def level(samples, frequency, sample_rate):
  """The amplitude of one frequency in samples, by its projection."""
  turn = np.exp(-2j * np.pi * frequency / sample_rate * np.arange(len(samples)))
  return 2 * abs(np.mean(samples * turn))


# Sound.


@pytest.mark.parametrize('suffix', AUDIO)
def test_a_tone_survives_encoding_and_resampling(files, suffix):
  samples = decode_audio(files[suffix], 16_000)
  assert samples.dtype == np.float32
  # AAC comes in packets of 1,024 samples, the last one full.
  assert samples.size == pytest.approx(32_000, abs=400)
  middle = samples[4000:28_000]
  assert level(middle, 440.0, 16_000) == pytest.approx(0.5, abs=0.03)
  assert np.std(middle) == pytest.approx(0.5 / np.sqrt(2), abs=0.03)


def test_sound_without_loss_is_the_same_samples(tmp_path):
  rng = np.random.default_rng(0)
  codes = rng.integers(-(2**15), 2**15, (1, 5000))
  samples = (codes / 2**15).astype(np.float32)
  for suffix in ('.wav', '.flac'):
    path = tmp_path / f'noise{suffix}'
    write_media(path, samples=samples, sample_rate=8000)
    decoded = decode_audio(path, 8000)
    np.testing.assert_allclose(decoded, samples[0], atol=2**-15)


def test_channels_are_averaged(tmp_path):
  left, right = sine(440.0, 0.5, 8000), sine(1000.0, 0.5, 8000)
  path = tmp_path / 'stereo.wav'
  write_media(path, samples=np.stack([left, right]), sample_rate=8000)
  decoded = decode_audio(path, 8000)
  np.testing.assert_allclose(decoded, (left + right) / 2, atol=2**-14)


@pytest.mark.parametrize('suffix', ['.wav', '.flac'])
def test_a_part_of_a_sound_is_that_part(files, suffix):
  whole = decode_audio(files[suffix], 48_000)
  part = decode_audio(files[suffix], 48_000, start=0.9, end=1.5)
  np.testing.assert_allclose(part, whole[43_200:72_000], atol=2**-14)
  early = decode_audio(files[suffix], 48_000, start=0.25, end=0.5)
  np.testing.assert_allclose(early, whole[12_000:24_000], atol=2**-14)
  late = decode_audio(files[suffix], 48_000, start=1.5, end=9.0)
  np.testing.assert_allclose(late, whole[72_000:], atol=2**-14)


@pytest.mark.parametrize('suffix', VIDEO)
def test_a_part_of_a_films_sound_is_as_long_as_asked(files, suffix):
  part = decode_audio(files[suffix], 8000, start=1.0, end=1.75)
  assert part.size == pytest.approx(6000, abs=1)
  assert level(part, 440.0, 8000) == pytest.approx(0.5, abs=0.05)


# Frames.


@pytest.mark.parametrize('suffix', VIDEO)
def test_every_frame_has_its_colour(files, suffix):
  frames = decode_frames(files[suffix], frame_rate=25)
  assert frames.dtype == np.uint8
  assert frames.shape == (50, 32, 48, 3)
  np.testing.assert_allclose(
    frames.mean(axis=(1, 2)), np.stack([GREYS] * 3, axis=1), atol=4
  )


@pytest.mark.parametrize('rate', [5, 10, 30, 50])
def test_another_rate_takes_the_nearest_frames(files, rate):
  frames = decode_frames(files['.mp4'], frame_rate=rate)
  assert len(frames) == 2 * rate
  nearest = np.arange(2 * rate) / rate * 25
  assert np.all(np.abs(_indices(frames) - nearest) <= 0.51)
  # Frames are real ones: none is a blend of two.
  np.testing.assert_allclose(_indices(frames) % 1.0, 0.0, atol=0.01)


def test_a_rate_of_ntsc_is_made_constant(tmp_path):
  path = tmp_path / 'ntsc.mp4'
  write_media(
    path, frames=grey_frames(4 * np.arange(60) + 10), frame_rate=30_000 / 1001
  )
  frames = decode_frames(path, frame_rate=25)
  assert len(frames) == 50
  shown = np.round((frames.mean(axis=(1, 2, 3)) - 10) / 4)
  times = np.arange(50) / 25 * 30_000 / 1001
  assert np.all(np.abs(shown - times) <= 0.51)


@pytest.mark.parametrize('suffix', VIDEO)
def test_a_part_of_a_film_is_that_part(files, suffix):
  frames = decode_frames(files[suffix], frame_rate=25, start=0.8, end=1.6)
  np.testing.assert_array_equal(_indices(frames), np.arange(20, 40))
  late = decode_frames(files[suffix], frame_rate=25, start=1.6, end=99.0)
  np.testing.assert_array_equal(_indices(late)[:10], np.arange(40, 50))


def _indices(frames):
  """Of the frames of `files`, by their grey."""
  return np.round((frames.mean(axis=(1, 2, 3)) - 20) / 4)


def test_the_short_side_is_resized_and_the_aspect_stays(files):
  frames = decode_frames(files['.mp4'], frame_rate=1, short_side=16)
  assert frames.shape == (2, 16, 24, 3)


def test_small_frames_are_an_average_of_large_ones(tmp_path):
  # A resize without antialiasing would show stripes instead of their mean.
  stripes = np.zeros((2, 64, 64, 3), np.uint8)
  stripes[:, :, ::2] = 255
  path = write_media(tmp_path / 'stripes.mp4', frames=stripes)
  frames = decode_frames(path, frame_rate=25, short_side=8)
  np.testing.assert_allclose(frames[:, 1:-1, 1:-1], 127, atol=10)


def test_a_film_of_a_telephone_is_turned_upright(tmp_path):
  frames = np.zeros((3, 32, 48, 3), np.uint8)
  frames[:, :, :24] = 200  # The left half is bright.
  path = write_media(tmp_path / 'turned.mp4', frames=frames)
  content = path.read_bytes()
  upright = struct.pack('>9i', 65536, 0, 0, 0, 65536, 0, 0, 0, 2**30)
  clockwise = struct.pack('>9i', 0, 65536, 0, -65536, 0, 0, 0, 0, 2**30)
  # The matrix of the film comes first, and then that of its track.
  before, first, track = content.partition(upright)
  assert track.count(upright) == 1
  path.write_bytes(before + first + track.replace(upright, clockwise))
  turned = decode_frames(path, frame_rate=25)
  assert turned.shape == (3, 48, 32, 3)
  np.testing.assert_allclose(turned[:, 2:20], 200, atol=8)
  np.testing.assert_allclose(turned[:, 28:46], 0, atol=8)


def test_the_picture_of_a_cover_is_no_video(tmp_path, files):
  path = tmp_path / 'song.mp3'
  with av.open(str(path), 'w') as container:
    sound = container.add_stream('libmp3lame', rate=8000, layout='mono')
    cover = container.add_stream('mjpeg', rate=1)
    cover.width, cover.height, cover.pix_fmt = 32, 32, 'yuvj420p'
    cover.disposition = av.stream.Disposition.attached_pic
    picture = av.VideoFrame.from_ndarray(grey_frames([9], 32, 32)[0], 'rgb24')
    container.mux(cover.encode(picture) + cover.encode(None))
    frame = av.AudioFrame.from_ndarray(
      sine(440.0, 0.5, 8000)[None], 'fltp', 'mono'
    )
    frame.sample_rate = 8000
    container.mux(sound.encode(frame) + sound.encode(None))
  assert decode_audio(path, 8000).size == pytest.approx(4000, abs=1200)
  assert not has_video(path)
  with pytest.raises(ValueError, match=r'song\.mp3 has no video'):
    decode_frames(path, frame_rate=25)
  assert has_video(files['.mp4']) and not has_video(files['.wav'])


# What is wrong with a file is said with its name.


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match=r'gone\.mp4'):
    decode_audio(tmp_path / 'gone.mp4', 8000)
  with pytest.raises(FileNotFoundError, match=str(tmp_path)):
    decode_frames(tmp_path, frame_rate=25)


@pytest.mark.parametrize('suffix', AUDIO)
def test_a_file_that_is_cut_short_is_named(tmp_path, files, suffix):
  content = files[suffix].read_bytes()
  path = tmp_path / f'half{suffix}'
  path.write_bytes(content[: len(content) * 2 // 5])
  with pytest.raises(ValueError, match=rf'half{suffix}.*cut short'):
    decode_audio(path, 8000)
  if suffix in VIDEO:
    with pytest.raises(ValueError, match=rf'half{suffix}.*cut short'):
      decode_frames(path, frame_rate=25)


def test_a_file_that_is_no_media_is_named(tmp_path):
  path = tmp_path / 'notes.mp4'
  for content in (b'', b'These are notes, no film.\n' * 100):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'notes\.mp4 cannot be decoded'):
      decode_audio(path, 8000)
    with pytest.raises(ValueError, match=r'notes\.mp4 cannot be decoded'):
      decode_frames(path, frame_rate=25)


def test_a_file_without_what_is_asked_for_is_named(tmp_path, files):
  silent = write_media(tmp_path / 'silent.mp4', frames=grey_frames([9] * 5))
  with pytest.raises(ValueError, match=r'silent\.mp4 has no sound'):
    decode_audio(silent, 8000)
  with pytest.raises(ValueError, match=r'two_seconds\.wav has no video'):
    decode_frames(files['.wav'], frame_rate=25)


def test_a_part_that_is_not_there_is_named(files):
  with pytest.raises(ValueError, match=r'two_seconds\.wav has no sound after'):
    decode_audio(files['.wav'], 8000, start=3.0)
  with pytest.raises(ValueError, match=r'two_seconds\.mp4 has no frames after'):
    decode_frames(files['.mp4'], frame_rate=25, start=3.0, end=4.0)
  with pytest.raises(ValueError, match=r'from 2\.0 to 1\.0 s is empty'):
    decode_audio(files['.wav'], 8000, start=2.0, end=1.0)
