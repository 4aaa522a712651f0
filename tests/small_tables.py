"""A small table of many senses and answers, with holes."""

import csv
import json

import numpy as np
from PIL import Image

from experiments.configs import table as table_config

INPUTS = 'picture:images,load:series,note:text,age:number,sex:category'
ANSWERS = 'ill:class,risk:number'
NAMES = (
  *('picture', 'load', 'note', 'age', 'sex', 'born', 'ill', 'risk', 'use'),
  *('tags', 'seg', 'stage'),
)
ROWS = 20


def write_table(folder, name='rows.csv'):
  """Writes a table; rows lack what their number says."""
  rng = np.random.default_rng(0)
  rows = []
  for i in range(ROWS):
    ill = i % 2
    pixels = np.full((12, 12, 3), 60 + 120 * ill, np.uint8)
    Image.fromarray(pixels).save(folder / f'{i}.png')
    numbers = np.zeros((12, 12), np.uint8)
    numbers[:, 6 + i % 4 :] = 1 + ill
    Image.fromarray(numbers).save(folder / f'{i}_seg.png')
    np.savetxt(folder / f'load{i}.csv', rng.normal(ill, 0.1, (40, 1)))
    rows.append(
      {
        'picture': '' if i % 5 == 1 else f'{i}.png',
        'load': '' if i % 7 == 2 else f'load{i}.csv',
        'note': 'NA'
        if i % 5 == 3
        else f'patient is {"ill" if ill else "well"}',
        'age': '' if i == 4 else str(40 + i),
        'sex': 'f' if i % 3 else 'm',
        'born': f'19{50 + i}-03-01',
        'ill': '' if i == 6 else ['no', 'yes'][ill],
        'risk': '' if i == 7 else str(10.0 * ill + i / 10),
        'use': 'test' if i % 4 == 3 else 'train',
        'tags': 'odd|old' if ill and i > 9 else 'odd' if ill else '[]',
        'seg': '' if i % 5 == 1 else f'{i}_seg.png',
        'stage': json.dumps(['rest'] * 20 + ['walk'] * 20),
      }
    )
  path = folder / name
  with path.open('w', encoding='utf-8', newline='') as file:
    writer = csv.DictWriter(file, NAMES)
    writer.writeheader()
    writer.writerows(rows)
  return path


def tiny(config):
  """Makes a config one of a step, and of a model that compiles in seconds."""
  config.batch_size = 4
  config.train_steps = config.log_every = config.eval_every = 1
  config.checkpoint_every = 1
  config.schedule.warmup_steps = 0
  config.report = {'seconds': 100.0}
  config.encoder.update(
    num_latents=4,
    latent_channels=8,
    self_attends_per_block=1,
    cross_attends=(1,),
    cross_attend_qk_channels=8,
  )
  return config


def small(path, **data):
  config = tiny(table_config.get_config())
  config.queries.num_channels = 8
  config.data.update(
    table=str(path), inputs=INPUTS, answers=ANSWERS, split='use', **data
  )
  return config
