"""The commands of the package, with what is registered from outside.

python -m tests.outside.commands train --config=tests/outside/dials.py
"""

import runpy
import sys

from experiments import tasks
from tests.outside.dials import DIALS

if __name__ == '__main__':
  tasks.register('dials', DIALS)
  runpy.run_module(f'experiments.{sys.argv.pop(1)}', run_name='__main__')
