"""Views and charts as parts of a page hold what they were given."""

import base64
import io
import re
import wave

import numpy as np
import PIL.Image
import pytest

from experiments.answers.classes.record import CLASSES
from experiments.answers.classes.value import Classes
from experiments.answers.filled_text.record import (
  FILLED_TEXT,
  Blank,
  FilledText,
)
from experiments.answers.flow.record import FLOW, Flow
from experiments.answers.reconstruction.record import RECONSTRUCTION
from experiments.answers.reconstruction.value import Reconstruction
from experiments.modalities.frames.colours import flow_colours
from experiments.modalities.images.view import Image
from experiments.modalities.points.view import Points
from experiments.modalities.senses import html_of
from experiments.modalities.series.view import Series
from experiments.modalities.sound.view import Sound
from experiments.modalities.text.view import Text
from experiments.modalities.video.view import Video
from experiments.pages.axes import number, ticks
from experiments.pages.charts import Line, line_chart, stacked_chart
from tests.pages import Page


def rng():
  return np.random.default_rng(0)


def data_of(element):
  """The file in an element's only data URI, and its kind."""
  (kind, text), *others = re.findall(
    r'data:([\w/]+);base64,([\w+/=]+)', element
  )
  assert not others
  return kind, io.BytesIO(base64.b64decode(text))


def test_a_small_picture_is_exact_and_enlarged_without_smoothing():
  pixels = rng().integers(0, 256, (28, 20, 3)).astype(np.uint8)
  element = html_of(Image(pixels))
  kind, file = data_of(element)
  assert kind == 'image/png'
  np.testing.assert_array_equal(np.asarray(PIL.Image.open(file)), pixels)
  assert 'width="120" height="168"' in element
  assert 'image-rendering:pixelated' in element


def test_a_large_picture_is_made_smaller():
  across = np.linspace(0, 255, 900)[None, :, None]
  pixels = np.broadcast_to(across, (300, 900, 3)).astype(np.uint8)
  element = html_of(Image(pixels))
  shown = np.asarray(PIL.Image.open(data_of(element)[1]), np.float64)
  assert shown.shape == (149, 448, 3)
  np.testing.assert_allclose(
    shown[70], np.linspace(0, 255, 448)[:, None] * [1, 1, 1], atol=6
  )
  assert 'pixelated' not in element
  assert len(element) < 20_000


def test_a_video_moves_at_its_rate():
  frames = rng().integers(0, 256, (5, 16, 12, 3)).astype(np.uint8)
  kind, file = data_of(html_of(Video(frames, 8.0)))
  film = PIL.Image.open(file)
  assert kind == 'image/webp' and film.n_frames == 5
  for i, frame in enumerate(frames):
    film.seek(i)
    film.load()
    assert film.info['duration'] == 125
    np.testing.assert_array_equal(np.asarray(film.convert('RGB')), frame)


def test_a_sound_is_a_wave_file_of_its_samples():
  samples = np.sin(np.arange(3000) / 7).astype(np.float32) * 0.9
  element = html_of(Sound(samples, 8000.0))
  kind, file = data_of(element)
  with wave.open(file) as sound:
    assert sound.getframerate() == 8000 and sound.getnchannels() == 1
    found = np.frombuffer(sound.readframes(3000), '<i2')
  assert kind == 'audio/wav'
  np.testing.assert_allclose(found / 32767, samples, atol=1e-4)
  # From top to bottom in every column of the drawing.
  columns = re.findall(r'M([\d.]+) ([\d.]+)V([\d.]+)', element)
  assert len(columns) == 320
  top, bottom = np.array(columns, np.float64)[:, 1:].T
  assert (bottom > top).all() and top.min() == 0.0 and bottom.max() == 64.0


def test_points_turn_and_stay_in_the_picture():
  points = rng().normal(size=(1000, 3)).astype(np.float32) * [1, 5, 2]
  film = PIL.Image.open(data_of(html_of(Points(points)))[1])
  assert film.n_frames == 20
  opacity = []
  for i in (0, 5):
    film.seek(i)
    opacity.append(np.asarray(film.convert('RGBA'))[..., 3] > 0)
  assert (opacity[0] != opacity[1]).any()
  for frame in opacity:
    rows, columns = frame.any(axis=1), frame.any(axis=0)
    # Tallest along y, which is up.
    assert np.ptp(np.flatnonzero(rows)) > 1.5 * np.ptp(np.flatnonzero(columns))


def test_text_is_escaped_and_may_begin_inside_a_character():
  element = html_of(Text('é<script>&'.encode()[1:] + b'\0'))
  page = Page(element)
  assert page.words == '\ufffd<script>&\ufffd'
  assert [tag for tag, _ in page.tags] == ['pre']


def test_a_series_has_a_line_a_channel():
  values = np.stack([np.arange(100.0), np.full(100, 99.0)], axis=1)
  element = html_of(Series(values, 50.0))
  first, second = re.findall(r'points="([^"]+)"', element)
  places = np.array([p.split(',') for p in first.split()], np.float64)
  # From the lowest value at the lower left to the highest at the upper right.
  np.testing.assert_allclose(places[[0, -1]], [[0, 118], [320, 2]])
  assert {p.split(',')[1] for p in second.split()} == {'2.0'}
  assert '100 steps, 2 s, from 0 to 99; 2 channel(s)' in element


def test_what_is_no_view_is_refused():
  with pytest.raises(TypeError, match='ndarray'):
    html_of(np.zeros(3))


def test_classes_are_shown_with_their_probabilities():
  names = ('<a>', 'b', 'c', 'd')
  (panel,) = CLASSES.panels(Classes(names, np.array([0.1, 0.6, 0.25, 0.05])))
  (rows,) = Page(panel.body).tables
  assert [[name, share.strip()] for name, share in rows[1:]] == [
    ['b', '60.0%'],
    ['c', '25.0%'],
    ['<a>', '10.0%'],
  ]


def test_filled_text_marks_what_was_filled_in():
  chances = np.zeros((2, 256))
  chances[0, ord('<')], chances[0, ord('i')] = 0.75, 0.25
  chances[1, 0xE9] = 1.0
  answer = FilledText('be<\ufffdgs & more', [Blank(2, 4, chances)])
  (panel,) = FILLED_TEXT.panels(answer)
  page = Page(panel.body)
  assert page.words == 'be<\ufffdgs & more'
  ((_, mark),) = [each for each in page.tags if each[0] == 'mark']
  assert mark['title'].startswith('< 75%, i 25%')
  assert '0xe9 100%' in mark['title']


def test_flow_and_reconstructions_have_a_panel_each():
  frames = rng().integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
  flow = rng().normal(size=(8, 8, 2))
  first, _, motion = FLOW.panels(Flow(frames, flow))
  shown = np.asarray(PIL.Image.open(data_of(first.body)[1]))
  np.testing.assert_array_equal(shown, frames[0])
  fastest = np.linalg.norm(flow, axis=-1).max()
  np.testing.assert_array_equal(
    np.asarray(PIL.Image.open(data_of(motion.body)[1])),
    flow_colours(flow, max_motion=fastest),
  )
  before, after = ({'image': Image(frame)} for frame in frames)
  names = [
    panel.name
    for panel in RECONSTRUCTION.panels(
      Reconstruction(before, after, {'image': 31.26})
    )
  ]
  assert names == ['Image: original', 'Image: reconstruction, 31.3 dB']


def test_ticks_are_round_and_within():
  assert ticks(0.0, 1.0, 4) == [0.0, 0.25, 0.5, 0.75, 1.0]
  assert ticks(0.13, 0.9, 4) == [0.2, 0.4, 0.6, 0.8]
  assert ticks(0.0, 3600.0, 4) == [0.0, 1000.0, 2000.0, 3000.0]
  assert ticks(5.0, 5.0, 4) == [5.0]


def test_numbers_are_short():
  assert [number(x) for x in (0.96123, 3600, 12345.6, 2e-6, 3.2e6)] == [
    '0.9612',
    '3,600',
    '12,346',
    '2e-06',
    '3.2 M',
  ]
  assert number(None) == number(float('nan')) == 'n/a'


def paths_of(chart):
  return [
    np.array(re.findall(r'([\d.]+) ([\d.]+)', path), np.float64)
    for path in re.findall(r'<path[^>]* d="([^"]+)"', chart)
  ]


def test_a_line_goes_through_its_points():
  points = [(0, 0.0), (50, 4.0), (100, 10.0)]
  chart = line_chart('a < b', [Line('x', points)], from_zero=True)
  (path,) = paths_of(chart)
  # Linear in x and in y.
  share = (path - path[0]) / (path[-1] - path[0])
  np.testing.assert_allclose(share, [[0, 0], [0.5, 0.4], [1, 1]], atol=2e-3)
  assert path[0, 1] > path[-1, 1]
  assert 'a &lt; b' in chart and '<b>10</b>' in chart


def test_a_logarithmic_line():
  points = [(1, 1.0), (2, 10.0), (3, 100.0)]
  (path,) = paths_of(line_chart('', [Line('', points)], is_log=True))
  assert path[0, 1] - path[1, 1] == pytest.approx(
    path[1, 1] - path[2, 1], abs=0.2
  )
  # Not where a value is not positive.
  (path,) = paths_of(
    line_chart('', [Line('', [*points, (4, 0.0)])], is_log=True)
  )
  assert path[0, 1] - path[1, 1] < 0.2 * (path[1, 1] - path[2, 1])


def test_a_value_that_is_not_finite_leaves_a_gap():
  points = [(0, 1.0), (1, 2.0), (2, None), (3, 2.0), (4, 1.0)]
  chart = line_chart('', [Line('x', points, has_dots=True)])
  (commands,) = re.findall(r'<path[^>]* d="([^"]+)"', chart)
  assert re.sub('[^ML]', '', commands) == 'MLML'
  assert chart.count('<circle') == 4
  assert line_chart('', [Line('x', [(0, None)])]) == line_chart('', []) == ''


def test_long_lines_are_thinned_to_the_means_of_neighbours():
  points = [(i, float(i % 2)) for i in range(10_001)]
  (path,) = paths_of(line_chart('', [Line('x', points)]))
  assert len(path) <= 402
  # The mean of even and odd; the last point is its own.
  np.testing.assert_allclose(path[:-1, 1], path[:-1, 1].mean(), atol=4.0)
  assert path[-1, 1] > path[0, 1] + 30


def test_stacked_areas_add_up():
  lines = [
    Line('<one>', [(0, 1.0), (1, 1.0)]),
    Line('two', [(0, 3.0), (1, 1.0)], 1),
  ]
  chart = stacked_chart('time', lines)
  below, above = paths_of(chart)
  # The lower edge of the second is the upper edge of the first.
  np.testing.assert_array_equal(above[2:][::-1], below[:2])
  ground = below[2:, 1].max()
  heights = ground - above[:2, 1]
  assert heights[0] == pytest.approx(2 * heights[1], abs=0.2)
  assert '&lt;one&gt; <b>33%</b>' in chart and 'two <b>67%</b>' in chart
