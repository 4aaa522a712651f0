"""Reports in a real browser: headless Chromium."""

import json
import shutil

import numpy as np
import pytest

from experiments.answers.classes.held_out import held_out_classes
from experiments.answers.classes.record import CLASSES
from experiments.configs import digits as digits_config
from experiments.data.dataset import DataSpec
from experiments.host.configuration import fill_defaults, write_config
from experiments.modalities.images.view import Image
from experiments.modalities.points.view import Points
from experiments.modalities.series.view import Series
from experiments.modalities.sound.view import Sound
from experiments.modalities.text.view import Text
from experiments.modalities.video.view import Video
from experiments.reporting.comparison import comparison_page
from experiments.reporting.held_out import Gallery, Shown
from experiments.reporting.run_page import Seen, read_run, run_page
from experiments.runs.evaluation import EachExample, Look
from experiments.tasks.task import Task

NAMES = tuple(f'a class with a long name, {i}' for i in range(40))
ROWS = [
  {
    'step': 100 * i,
    'train/loss': 3.0 / i,
    'eval/loss': 3.1 / i,
    'eval/a_metric_with_a_long_name_that_has_no_end': 0.1 * i,
    'train/learning_rate': 1e-3 / i,
    'train/examples_per_second': 700.0 + i,
    'train/seconds_per_step_device': 0.08,
    'train/seconds_per_step_data_wait': 0.01,
    'train/seconds_per_step_checkpoint': 0.001,
  }
  for i in range(1, 8)
]


def rng():
  return np.random.default_rng(0)


def views(example):
  """Everything that can be seen or heard of an example."""
  del example
  pixels = rng().integers(0, 256, (8, 600, 500, 3)).astype(np.uint8)
  times = np.arange(4000, dtype=np.float32)
  return {
    'image': Image(pixels[0]),
    'digit': Image(pixels[1, :28, :28]),
    'film': Video(pixels[:4, :40, :40], 8.0),
    'sound': Sound(np.sin(times / 9), 8000.0),
    'points': Points(rng().normal(size=(500, 3)).astype(np.float32)),
    'text': Text(b'word' * 200),
    'series': Series(rng().normal(size=(300, 3)), 50.0),
  }


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('runs') / ('a-run-with-a-long-name' * 4)
  folder.mkdir()
  write_config(fill_defaults(digits_config.get_config()), folder)
  lines = ''.join(json.dumps(row) + '\n' for row in ROWS)
  (folder / 'metrics.jsonl').write_text(lines)
  start = {
    'command': ['python', '-m', 'experiments.train', '--config=' + 'x' * 300],
    'versions': {'jax': '0' * 200},
  }
  (folder / 'starts.jsonl').write_text(f'{json.dumps(start)}\n' * 2)
  return folder


@pytest.fixture(scope='module')
def report(folder):
  """A page with everything that a report can have."""
  spec = DataSpec(example={}, num_classes=40, load=None, view=views)
  answer = CLASSES._replace(held_out=held_out_classes(NAMES, None))
  task = Task(None, None, spec, answer, None)
  kept = {
    'scores': rng().dirichlet(np.ones(40), 40),
    'labels': np.arange(40) % 7,
  }
  each = EachExample(np.arange(40), {'loss': np.arange(40.0)}, kept)
  shown = [
    Shown(
      f'no. {i}',
      {'loss': float(i)},
      {},
      {name: values[i] for name, values in kept.items()},
    )
    for i in range(24)
  ]
  seen = Seen(
    task, Look(700, each, {}, {}, 40), Gallery(shown[:12], [], shown[12:])
  )
  page = folder / 'report.html'
  page.write_text(run_page(read_run(folder), seen))
  return page


@pytest.fixture(scope='module')
def comparison(folder):
  other = shutil.copytree(folder, folder.parent / 'other')
  page = folder.parent / 'comparison.html'
  page.write_text(comparison_page([read_run(folder), read_run(other)]))
  return page


def show(browser, page, *, width=1200, scheme='light'):
  browser.execute_cdp_cmd(
    'Emulation.setEmulatedMedia',
    {'features': [{'name': 'prefers-color-scheme', 'value': scheme}]},
  )
  browser.execute_cdp_cmd(
    'Emulation.setDeviceMetricsOverride',
    {
      'width': width,
      'height': 900,
      'deviceScaleFactor': 1,
      'mobile': width < 600,
    },
  )
  browser.get(page.as_uri())
  return browser.execute_script


@pytest.mark.parametrize('name', ['report', 'comparison'])
@pytest.mark.parametrize('width', [360, 1200])
def test_a_page_fits_and_nothing_goes_wrong(browser, name, width, request):
  ask = show(browser, request.getfixturevalue(name), width=width)
  assert ask('return document.documentElement.scrollWidth') <= width
  assert browser.get_log('browser') == []
  # All of it is in the file.
  assert ask('return performance.getEntriesByType("resource")') == []


def test_pictures_are_shown_and_sounds_can_be_played(browser, report):
  ask = show(browser, report)
  sizes = ask('return [...document.images].map(x => x.naturalWidth)')
  assert len(sizes) == 24 * 4 and min(sizes) >= 28
  script = """
    const [sound, done] = [document.querySelector('audio'), arguments[0]];
    if (sound.readyState >= 1) done(sound.duration);
    sound.addEventListener('loadedmetadata', () => done(sound.duration));
    sound.load();
  """
  assert browser.execute_async_script(script) == pytest.approx(0.5)


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_text_stands_out_from_its_paper(browser, report, scheme):
  ask = show(browser, report, scheme=scheme)
  paper = brightness(ask('return getComputedStyle(document.body).background'))
  assert (paper > 0.9) == (scheme == 'light') and (paper < 0.1) == (
    scheme == 'dark'
  )
  for selector, least in (('h1', 0.7), ('.note', 0.35), ('.chart text', 0.35)):
    kind = 'fill' if 'text' in selector else 'color'
    colour = ask(
      f'return getComputedStyle(document.querySelector("{selector}")).{kind}'
    )
    assert abs(brightness(colour) - paper) > least, selector


def brightness(colour):
  """Of a colour such as 'rgb(20, 23, 28) none ...', from 0 to 1."""
  numbers = colour.partition('(')[2].partition(')')[0].split(',')[:3]
  return sum(map(float, numbers)) / (3 * 255)


def test_links_lead_to_sections(browser, report):
  ask = show(browser, report)
  missing = ask(
    'return [...document.querySelectorAll("nav a")].filter('
    'x => !document.querySelector(x.getAttribute("href"))).length'
  )
  assert missing == 0
  assert ask('return document.querySelectorAll("nav a").length') >= 8
