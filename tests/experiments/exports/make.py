"""Writes a small function as the jax that is there exports it.

  python tests/experiments/exports/make.py

The files beside this one were written so, each by the jax of its name.
"""

import pathlib

import jax
from jax import export


def function(weights, inputs):
  return {'shares': jax.nn.softmax(inputs['x'] @ weights['w'])}


def main():
  # No paths of the machine that wrote it.
  jax.config.update('jax_traceback_in_locations_limit', 0)
  (batch,) = export.symbolic_shape('batch')
  exported = export.export(jax.jit(function), platforms=['cpu', 'cuda', 'tpu'])(
    {'w': jax.ShapeDtypeStruct((3, 4), 'float32')},
    {'x': jax.ShapeDtypeStruct((batch, 3), 'float32')},
  )
  path = pathlib.Path(__file__).with_name(f'{jax.__version__}.jaxexport')
  path.write_bytes(exported.serialize())


if __name__ == '__main__':
  main()
