"""A sense that the package does not know goes all the way through it."""

import io
import json
import re

import httpx
import ml_collections
import numpy as np
import PIL.Image
import pytest
from ml_collections.config_dict import placeholder

from experiments.attention.figure import attention_figure
from experiments.attention.maps_of import AttentionOf
from experiments.attention.page import attention_page
from experiments.export import write_export
from experiments.modalities import senses
from experiments.runs.trained import load_run
from experiments.train import train_and_evaluate
from tests.outside.thermal.record import THERMAL
from tests.outside.thermal.view import Thermal
from tests.served import served

HEIGHT, WIDTH = 6, 8


@pytest.fixture
def registered():
  senses.register(THERMAL)
  yield
  senses._senses.remove(THERMAL)


def write_thermal(path, hot, rng):
  """A warm spot on the left or on the right of a room."""
  kelvin = rng.normal(293.0, 0.2, (HEIGHT, WIDTH))
  kelvin[2:4, 6 if hot else 1] += 15.0
  path.parent.mkdir(parents=True, exist_ok=True)
  hundredths = np.rint(100 * kelvin).astype(np.uint16)
  PIL.Image.fromarray(hundredths).save(path)


@pytest.fixture
def root(tmp_path):
  rng = np.random.default_rng(0)
  for split, count in (('train', 12), ('test', 5)):
    for name in ('left', 'right'):
      for i in range(count):
        path = tmp_path / 'own' / split / name / f'{i}.png'
        write_thermal(path, name == 'right', rng)
  return tmp_path / 'own'


def get_config(root):
  """A config as somebody would write one for it."""
  config = ml_collections.ConfigDict()
  config.task = 'classification'
  config.seed = 0
  config.batch_size = 8
  config.train_steps = config.log_every = config.eval_every = 40
  config.checkpoint_every = 40
  config.data_workers = 0
  config.data = dict(
    name='thermal_folder',
    root=str(root),
    classes=placeholder(tuple),
    height=HEIGHT,
    width=WIDTH,
    mean=placeholder(float),
    skip_unreadable=False,
  )
  config.inputs = dict(
    thermal=dict(
      name='warm_columns',
      columns=2,
      positions=dict(
        name='fourier', num_bands=2, max_resolution=(HEIGHT, WIDTH // 2)
      ),
    )
  )
  config.encoder = dict(
    num_latents=4,
    latent_channels=16,
    cross_attends=(1,),
    self_attends_per_block=1,
    self_attend_heads=2,
    rematerialize='none',
  )
  config.loss = dict(name='softmax', label_smoothing=0.0)
  config.optimizer = dict(
    name='adamw', weight_decay=0.01, b2=0.95, clip_norm=1.0
  )
  config.schedule = dict(name='cosine', learning_rate=1e-2, warmup_steps=5)
  config.checkpoints = dict(
    keep_last=1, best_metric='eval/accuracy', best_mode='max'
  )
  config.report = dict(seconds=100.0)
  return config


@pytest.mark.usefixtures('registered')
def test_a_thermal_camera_goes_all_the_way(root, tmp_path, capsys):
  workdir = tmp_path / 'run'
  results = train_and_evaluate(
    get_config(root), workdir, str(tmp_path / 'data')
  )
  # The spot is 15 K warmer: this is learned.
  assert results['eval/accuracy'] == 1.0
  output = capsys.readouterr().out
  assert 'K on average, 2 classes, 24 + 10 files' in output
  report = (workdir / 'report.html').read_text()
  assert len(re.findall(r'<p>1\d\.\d to 3\d\.\d °C</p>', report)) >= 10

  run = load_run(workdir)
  files = [root / 'test' / name / '0.png' for name in ('left', 'right')]
  said = [run.predict(file) for file in files]
  assert [each.top(1)[0][0] for each in said] == ['left', 'right']

  (example,) = run.read(files[1])
  (view,) = run.task.data.view(example).values()
  assert isinstance(view, Thermal)
  np.testing.assert_allclose(
    view.kelvin * 100, np.asarray(PIL.Image.open(files[1])), atol=0.01
  )
  maps = AttentionOf(run)(example)
  assert maps.modalities['thermal'].cells == (HEIGHT, WIDTH // 2)
  page = attention_page('thermal', maps)
  assert 'INPUTS.thermal = ThermalPicture' in page
  data = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])
  assert data['inputs'][0]['kind'] == 'thermal'
  assert attention_figure('thermal', maps, 'thermal', [0]).shape[-1] == 3

  with served(run) as address:
    reply = httpx.post(
      f'{address}/api/predict', files={'file': ('x.png', files[0].read_bytes())}
    )
  assert reply.status_code == 200, reply.text
  assert reply.json()['classes'][0]['name'] == 'left'

  folder = tmp_path / 'exported'
  folder.mkdir()
  write_export(run, folder, platforms=['cpu'], weights_inside=False)
  assert (folder / 'classes.txt').read_text() == 'left\nright\n'
  assert 'thermal' in (folder / 'README.md').read_text()


@pytest.mark.usefixtures('registered')
def test_other_pictures_are_refused_in_words(root, tmp_path):
  plain = io.BytesIO()
  PIL.Image.new('L', (WIDTH, HEIGHT)).save(plain, 'PNG')
  path = root / 'train' / 'left' / 'plain.png'
  path.write_bytes(plain.getvalue())
  with pytest.raises(ValueError, match=r'plain\.png is no thermal picture'):
    train_and_evaluate(get_config(root), tmp_path / 'run', str(tmp_path))


@pytest.mark.usefixtures('registered')
def test_a_name_that_is_taken_is_refused():
  with pytest.raises(ValueError, match='sense of Thermal already'):
    senses.register(THERMAL)

  class Other(tuple):
    pass

  with pytest.raises(ValueError, match=r"\['thermal_folder'\] of folders"):
    senses.register(THERMAL._replace(view=Other, preprocessors={}))


def test_what_is_not_registered_is_named():
  with pytest.raises(TypeError, match='Thermal belongs to no sense'):
    senses.html_of(Thermal(np.zeros((2, 2))))
