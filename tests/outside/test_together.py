"""A sense and an answer that both come from outside, in one task."""

import re

import numpy as np
import pytest

from experiments.modalities import senses
from experiments.reporting.examples import example_panels
from tests.outside.dials import DIALS, draw_dial, get_config
from tests.outside.thermal.record import THERMAL
from tests.outside.thermal.view import Thermal


@pytest.fixture
def task():
  """Dials that a thermal camera looks at: the needle is 20 K warmer."""
  senses.register(THERMAL)
  task = DIALS.make_task(get_config(), None)
  data = task.data._replace(
    view=lambda example: {
      'thermal': Thermal(290.0 + 20.0 * example['image'][..., 0])
    }
  )
  yield task._replace(data=data)
  senses._senses.remove(THERMAL)


def test_each_shows_its_own_part_of_an_example(task):
  example = {'image': draw_dial(30.0), 'angle': np.float32(30.0)}
  direction = np.array([np.cos(0.5), np.sin(0.5)])
  seen, told = example_panels(task, direction, example)
  assert (seen.name, told.name) == ('Thermal', 'Dial')
  low, high = re.search(r'(-?[\d.]+) to ([\d.]+) °C', seen.body).groups()
  assert float(low) == pytest.approx(290 - 273.15, abs=0.1)
  assert 30 < float(high) < 310 - 273.1
  assert f'rotate({-np.degrees(0.5):.1f})' in told.body
