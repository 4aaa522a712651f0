"""Sound and film as programs write them, and what only looks like them."""

import fractions
import http.server
import struct
import threading

import av
import numpy as np
import pytest

from experiments.files import media
from experiments.files.media import (
  decode_audio,
  decode_frames,
  has_video,
  read_header,
)
from tests.media_files import audio_frames, grey_frames, sine, write_media

RATE = 16_000
SAMPLES = np.arange(RATE) % 251 * 100 - 12_000


def chunk(name, body, size=None):
  size = len(body) if size is None else size
  return name + struct.pack('<I', size) + body + b'\0' * (len(body) % 2)


def wav(samples=SAMPLES, *, riff=None, data=None, before=b'', after=b''):
  """A wav file that may state other sizes than it has."""
  if samples.dtype.kind == 'f':
    tag, body = 3, samples.astype('<f4').tobytes()
  else:
    tag, body = 1, samples.astype('<i2').tobytes()
  width = 4 if tag == 3 else 2
  form = struct.pack('<HHIIHH', tag, 1, RATE, RATE * width, width, 8 * width)
  content = (
    b'WAVE' + chunk(b'fmt ', form) + before + chunk(b'data', body, data) + after
  )
  size = len(content) if riff is None else riff
  return b'RIFF' + struct.pack('<I', size) + content


def info(text):
  return chunk(b'LIST', b'INFO' + chunk(b'IART', text + b'\0'))


WHOLE = len(wav())
TAG = info('Björk'.encode('latin-1'))
WAVS = {
  'as stated': wav(),
  'arecord': wav(riff=0x7FFFFF24, data=0x7FFFFF00),
  'an older sox to a pipe': wav(riff=0x7FFFF024, data=0x7FFFF000),
  'ffmpeg to a pipe': wav(riff=2**32 - 1, data=2**32 - 1),
  'counts its own header': wav(riff=WHOLE),
  'counts a byte that is not there': wav(riff=WHOLE - 7),
  'counts nothing': wav(riff=0),
  'half of it': wav(riff=WHOLE // 2),
  'a part behind that is cut': wav(after=chunk(b'LIST', b'INFO', 4000)),
  'tags in Latin-1': wav(before=TAG),
  'tags in Latin-1 behind': wav(after=TAG),
}


@pytest.mark.parametrize('content', WAVS.values(), ids=WAVS)
def test_wav_of_every_recorder(tmp_path, content):
  path = tmp_path / 'x.wav'
  path.write_bytes(content)
  samples = decode_audio(path, RATE)
  assert len(samples) == pytest.approx(RATE, abs=2)
  np.testing.assert_allclose(samples[:RATE], SAMPLES / 2**15, atol=1e-6)


def test_a_wav_that_is_cut_is_still_found(tmp_path):
  path = tmp_path / 'x.wav'
  for content in (wav()[:-2000], wav(before=TAG)[:-2000]):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'x\.wav is cut short'):
      decode_audio(path, RATE)


@pytest.mark.parametrize('suffix', ['.flac', '.mp3', '.mkv', '.avi', '.mp4'])
def test_tags_of_any_encoding(tmp_path, suffix):
  path = tmp_path / f'x{suffix}'
  tone = sine(440, 0.5, RATE)[None]
  sound = dict(samples=tone, sample_rate=RATE)
  write_media(path, **sound)
  plain = tmp_path / f'tagged{suffix}'
  with av.open(str(path)) as source, av.open(str(plain), 'w') as target:
    target.metadata['title'] = target.metadata['artist'] = 'Bj@rk'
    stream = target.add_stream_from_template(source.streams.audio[0])
    for packet in source.demux(source.streams.audio[0]):
      if packet.dts is not None:
        packet.stream = stream
        target.mux(packet)
  content = plain.read_bytes()
  assert b'Bj@rk' in content
  plain.write_bytes(content.replace(b'Bj@rk', 'Björk'.encode('latin-1')))
  np.testing.assert_array_equal(
    decode_audio(plain, RATE), decode_audio(path, RATE)
  )


@pytest.mark.parametrize('codec', ['aac', 'libmp3lame'])
def test_a_guess_of_the_length_is_no_statement(tmp_path, codec):
  """Silent at first and then loud: FFmpeg guesses from the first bytes."""
  path = tmp_path / ('x.aac' if codec == 'aac' else 'x.mp3')
  options = {} if codec == 'aac' else {'write_xing': '0'}
  file_format = 'adts' if codec == 'aac' else 'mp3'
  noise = np.random.default_rng(0).uniform(-0.9, 0.9, 10 * RATE)
  sound = np.concatenate([np.zeros(5 * RATE), noise]).astype(np.float32)
  with av.open(str(path), 'w', format=file_format, options=options) as file:
    quality = {'compression_level': '9'} if codec == 'aac' else {}
    stream = file.add_stream(
      codec, rate=RATE, layout='mono', options={'q': '0', **quality}
    )
    stream.codec_context.qscale = True
    for frame in audio_frames(sound[None], RATE, 'mono', stream):
      file.mux(stream.encode(frame))
    file.mux(stream.encode(None))
  if codec == 'libmp3lame':
    assert b'Xing' not in path.read_bytes()[:4096]
  stated = read_header(path).seconds
  assert stated > 15 + 1.5  # Far from what it has.
  assert len(decode_audio(path, RATE)) / RATE == pytest.approx(15, abs=0.3)


@pytest.mark.parametrize('value', [np.nan, np.inf, 12_000.0])
def test_samples_that_are_no_sound_are_refused(tmp_path, value):
  samples = SAMPLES / 2**15
  samples[500] = value
  (tmp_path / 'x.wav').write_bytes(wav(samples))
  with pytest.raises(ValueError, match=r'x\.wav has samples up to'):
    decode_audio(tmp_path / 'x.wav', RATE)


def test_samples_a_little_too_loud_are_clipped(tmp_path):
  (tmp_path / 'x.wav').write_bytes(wav(SAMPLES / 2**14))
  samples = decode_audio(tmp_path / 'x.wav', RATE)
  np.testing.assert_allclose(
    samples, np.clip(SAMPLES / 2**14, -1, 1), atol=1e-6
  )


# What only looks like media.


def playlists(target):
  return {
    'hls': f'#EXTM3U\n#EXTINF:1.0,\n{target}\n#EXT-X-ENDLIST\n',
    'concat': f'ffconcat version 1.0\nfile {target}\n',
    'dash': '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"'
    ' type="static"><Period><AdaptationSet><Representation id="1" '
    f'bandwidth="1"><BaseURL>{target}</BaseURL></Representation>'
    '</AdaptationSet></Period></MPD>',
    'sdp': 'v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\n'
    'm=audio 5004 RTP/AVP 0\n',
    'text': 'hello ' * 100,
  }


@pytest.mark.parametrize('kind', playlists(''))
@pytest.mark.parametrize('suffix', ['.wav', '.mp4'])
def test_what_names_other_files_is_no_media(tmp_path, kind, suffix):
  (tmp_path / 'other.wav').write_bytes(wav())
  asked = []

  class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
      asked.append(self.path)
      self.send_error(404)

    def log_message(self, *_):
      pass

  with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Server) as server:
    threading.Thread(target=server.serve_forever, args=[0.01]).start()
    address = f'http://127.0.0.1:{server.server_port}/x.wav'
    path = tmp_path / f'x{suffix}'
    for target in ('other.wav', f'file://{tmp_path}/other.wav', address):
      path.write_text(playlists(target)[kind])
      for read in (read_header, has_video, lambda p: decode_audio(p, RATE)):
        with pytest.raises(ValueError, match=rf'x{suffix} cannot be decoded'):
          read(path)
    server.shutdown()
  assert not asked


@pytest.mark.parametrize('name', ['http:x.wav', 'concat:a|b.wav', '-x.wav'])
def test_names_are_names_of_files(tmp_path, monkeypatch, name):
  (tmp_path / name).write_bytes(wav())
  monkeypatch.chdir(tmp_path)
  assert len(decode_audio(name, RATE)) == RATE


def test_a_name_that_is_no_utf_8(tmp_path):
  path = bytes(tmp_path) + b'/caf\xe9.wav'
  with open(path, 'wb') as file:
    file.write(wav())
  (found,) = tmp_path.iterdir()
  assert len(decode_audio(found, RATE)) == RATE


def test_very_long_sounds_are_refused_while_they_are_decoded(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(media, '_MOST_SAMPLES', RATE // 2)
  (tmp_path / 'x.wav').write_bytes(wav())
  with pytest.raises(ValueError, match=r'x\.wav is too long: more than 8,000'):
    decode_audio(tmp_path / 'x.wav', RATE)
  assert len(decode_audio(tmp_path / 'x.wav', RATE, end=0.2)) == RATE // 5
  with pytest.raises(ValueError, match=r'x\.wav is too long'):
    decode_audio(tmp_path / 'x.wav', 100 * RATE, end=0.2)


def test_what_a_header_states_is_refused_before_it_is_decoded(
  tmp_path, monkeypatch
):
  def never(*arguments):
    raise AssertionError(arguments)

  (tmp_path / 'x.wav').write_bytes(wav())
  path = write_media(tmp_path / 'x.mp4', frames=grey_frames([9] * 25, 32, 32))
  monkeypatch.setattr(media, '_seek', never)
  monkeypatch.setattr(media, '_MOST_SAMPLES', RATE // 2)
  monkeypatch.setattr(media, '_MOST_FRAME_BYTES', 10 * 32 * 32 * 3)
  with pytest.raises(ValueError, match=r'x\.wav is too long: more than 8,000'):
    decode_audio(tmp_path / 'x.wav', RATE)
  with pytest.raises(ValueError, match=r'x\.mp4 is too long: its frames'):
    decode_frames(path, frame_rate=25)


def test_very_many_frames_are_refused(tmp_path, monkeypatch):
  path = write_media(tmp_path / 'x.mp4', frames=grey_frames([9] * 25, 32, 32))
  monkeypatch.setattr(media, '_MOST_FRAME_BYTES', 10 * 32 * 32 * 3)
  with pytest.raises(ValueError, match=r'x\.mp4 is too long: its frames'):
    decode_frames(path, frame_rate=25)
  assert len(decode_frames(path, frame_rate=10)) == 10
  monkeypatch.setattr(media, '_MOST_PIXELS', 1000)
  with pytest.raises(ValueError, match=r'x\.mp4 has frames of 32 x 32 pixels'):
    decode_frames(path, frame_rate=10)


# How a film is shown.

# What each matrix makes of the place of the top left corner and of the one at
# its right, by the axes of the picture that is shown: (a, b), (c, d).
TURNS = {
  'as it is': ((1, 0), (0, 1)),
  'half': ((-1, 0), (0, -1)),
  'clockwise': ((0, 1), (-1, 0)),
  'anticlockwise': ((0, -1), (1, 0)),
  'mirrored': ((-1, 0), (0, 1)),
  'upside down': ((1, 0), (0, -1)),
  'transposed': ((0, 1), (1, 0)),
  'transposed the other way': ((0, -1), (-1, 0)),
}


@pytest.mark.parametrize('turn', TURNS)
def test_films_are_turned_and_mirrored_as_they_say(tmp_path, turn):
  (a, b), (c, d) = TURNS[turn]
  frame = np.zeros((32, 48, 3), np.uint8)
  frame[:16, :24], frame[:16, 24:] = 220, 120  # Top left, top right.
  path = write_media(tmp_path / 'x.mp4', frames=np.stack([frame] * 3))
  one = 65536
  plain = struct.pack('>9i', one, 0, 0, 0, one, 0, 0, 0, 2**30)
  own = struct.pack(
    '>9i', a * one, b * one, 0, c * one, d * one, 0, 0, 0, 2**30
  )
  before, first, track = path.read_bytes().partition(plain)
  path.write_bytes(before + first + track.replace(plain, own))
  shown = decode_frames(path, frame_rate=25)[0, ..., 0].astype(float)
  assert shown.shape == ((32, 48) if a else (48, 32))
  # Where each quarter goes, from the middle: p' = p (a, b; c, d).
  height, width = shown.shape
  for x, y, grey in ((-1, -1, 220), (1, -1, 120), (-1, 1, 0), (1, 1, 0)):
    to_x, to_y = a * x + c * y, b * x + d * y
    row, column = (
      height // 2 + to_y * height // 4,
      width // 2 + to_x * width // 4,
    )
    assert shown[row, column] == pytest.approx(grey, abs=12)


@pytest.mark.parametrize('shape', ['4/3', '1/2', '1'])
def test_oblong_pixels(tmp_path, shape):
  path = tmp_path / 'x.mkv'
  with av.open(str(path), 'w') as file:
    stream = file.add_stream('mpeg4', rate=25)
    stream.width, stream.height, stream.pix_fmt = 48, 32, 'yuv420p'
    stream.codec_context.sample_aspect_ratio = fractions.Fraction(shape)
    for pixels in grey_frames([9] * 5, 32, 48):
      file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, 'rgb24')))
    file.mux(stream.encode(None))
  width = round(48 * fractions.Fraction(shape))
  assert decode_frames(path, frame_rate=25).shape[1:3] == (32, width)
  assert read_header(path).short_side == min(32, width)
  small = decode_frames(path, frame_rate=25, short_side=12)
  assert min(small.shape[1:3]) == 12
  assert small.shape[2] / small.shape[1] == pytest.approx(width / 32, rel=0.05)
