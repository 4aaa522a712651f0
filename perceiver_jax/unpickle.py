"""Reads pickled Haiku parameters without running anything a file asks for.

A pickle is a program: it names callables, calls them and sets their state. Here
every name that it may use stands for a small object of this file, so not even
numpy's own constructors are called by the file; all other names are refused.
The names are those under which numpy, jax and Haiku of 2020 to today write
arrays and parameters.
"""

import math
import pathlib
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

_PLAIN = (str, int, float, bool, type(None))
# What numpy writes for its own dtypes: kind and bytes.
_KINDS = {'b1', 'f2', 'f4', 'f8', 'c8', 'c16'} | {
  f'{sign}{size}' for sign in 'iu' for size in (1, 2, 4, 8)
}


def load_arrays(path: pathlib.Path | str) -> dict[str, Any]:
  """Reads a file of parameters, such as {module: {name: array}}.

  A file may still ask for more memory than there is.

  Args:
    path: of a pickle of mappings, lists and tuples of numpy arrays, jax arrays
      and plain values.

  Returns:
    Nested dicts. All arrays, also jax arrays and numpy scalars, become numpy
    arrays of native byte order; other values are as in the file.

  Raises:
    ValueError: the file names anything else, is damaged, or is no pickle.
    OSError: it cannot be read.
  """
  path = pathlib.Path(path)
  with path.open('rb') as file:
    try:
      tree = _plain(_Unpickler(file).load(), {})
    except OSError:
      raise
    except _RefusedError as error:
      raise ValueError(
        f'{path} is refused, and nothing in it was run: {error}. Only mappings '
        'of arrays are read; have it saved as such by someone you trust.'
      ) from None
    # Nonsense can make the machine of pickle raise anything.
    except Exception as error:
      raise ValueError(
        f'{path} is no pickle of parameters, or it is damaged or incomplete: '
        f'{type(error).__name__}: {error}. Compare its size with the original.'
      ) from error
  if not isinstance(tree, dict):
    raise ValueError(
      f'{path} holds a {type(tree).__name__}, not a mapping of parameters.'
    )
  return tree


class _RefusedError(Exception):
  """A file asks for what is not a part of parameters."""


class _Unpickler(pickle.Unpickler):
  """Knows the names in `_NAMES` and nothing else."""

  def find_class(self, module: str, name: str) -> Any:
    try:
      return _NAMES[module, name]
    except KeyError:
      raise _RefusedError(f'it asks for {module}.{name}') from None


class _Name:
  """What a name of the file stands for.

  The file can call it; without a `__dict__` and with a `__setstate__` that
  refuses, the file cannot change it.
  """

  __slots__ = ('_call', '_title')

  def __init__(self, title: str, call: Callable[..., Any] | None = None):
    self._title = title
    self._call = call

  def __call__(self, *arguments: Any) -> Any:
    if self._call is None:
      raise _RefusedError(f'it calls {self._title}')
    return self._call(*arguments)

  def __repr__(self) -> str:
    return self._title

  def __setstate__(self, state: Any) -> None:
    raise _RefusedError(f'it changes {self._title}')


class _DType:
  """A numpy dtype in the making: first its kind, then its byte order."""

  __slots__ = ('_dtype', '_order')

  def __init__(self, kind: Any, *_: Any):
    if kind is _BFLOAT16:
      self._dtype = np.dtype(jnp.bfloat16)
    elif isinstance(kind, str) and kind in _KINDS:
      self._dtype = np.dtype(kind)
    else:
      raise _RefusedError(f'it has an array of dtype {kind!r}')
    self._order = '='

  def __setstate__(self, state: Any) -> None:
    _, self._order, *structure = state
    if any(part is not None for part in structure[:3]):
      raise _RefusedError('it has an array of records, not of numbers')

  def array(self, data: Any, shape: tuple[int, ...], order: str) -> np.ndarray:
    """A new array from bytes in the order 'C' or 'F'."""
    dtype = self._dtype
    if not isinstance(data, bytes | bytearray):
      raise _RefusedError(
        f'it has an array of {type(data).__name__}, not bytes'
      )
    if (
      len(data) != math.prod(shape) * dtype.itemsize
      or min(shape, default=0) < 0
    ):
      raise ValueError(f'{len(data)} bytes for {dtype} of shape {shape}')
    if self._order in ('<', '>'):
      dtype = dtype.newbyteorder(self._order)
    return np.ndarray(shape, dtype, data, order=order).astype(self._dtype)


class _Array:
  """A numpy array in the making."""

  __slots__ = ('value',)

  def __init__(self, value: np.ndarray | None = None):
    self.value = value

  def __setstate__(self, state: Any) -> None:
    version, shape, dtype, is_fortran, data = state
    if version != 1:
      raise ValueError(f'array of version {version}')
    self.value = _check(dtype).array(data, shape, 'F' if is_fortran else 'C')


def _check(dtype: Any) -> _DType:
  if not isinstance(dtype, _DType):
    raise _RefusedError(f'it has an array of dtype {dtype!r}')
  return dtype


def _reconstruct(kind: Any, *_: Any) -> _Array:
  """An empty array, whose state follows."""
  if kind is not _NDARRAY:
    raise _RefusedError('it reconstructs something that is not an array')
  return _Array()


def _from_buffer(
  data: Any, dtype: Any, shape: Any, order: str, axis_order: Any = None
) -> _Array:
  """How arrays are written since pickle protocol 5."""
  if order != 'K':
    return _Array(_check(dtype).array(data, shape, order))
  array = _check(dtype).array(data, shape, 'C')
  return _Array(array if axis_order is None else array.transpose(axis_order))


def _scalar(dtype: Any, data: Any) -> _Array:
  return _Array(_check(dtype).array(data, (), 'C'))


def _jax_array(function: Any, arguments: Any, state: Any, _: Any) -> _Array:
  """A jax array, written as the numpy array it holds."""
  if function is not _RECONSTRUCT:
    raise _RefusedError('it makes a jax array of something else')
  array = _reconstruct(*arguments)
  array.__setstate__(state)
  return array


def _encode(text: Any, encoding: Any) -> bytes:
  """How bytes are written before pickle protocol 3."""
  if not isinstance(text, str) or encoding != 'latin1':
    raise _RefusedError(f'it encodes a text as {encoding!r}')
  return text.encode('latin1')


_NDARRAY = _Name('numpy.ndarray')
_BFLOAT16 = _Name('bfloat16')
_RECONSTRUCT = _Name('numpy.core.multiarray._reconstruct', _reconstruct)
_JAX_ARRAY = _Name('jax array', _jax_array)
_BYTES = _Name('bytes', lambda: b'')  # How b'' is written before protocol 3.
_MAPPING = _Name('mapping', dict)
_NAMES: Mapping[tuple[str, str], _Name] = {
  ('collections', 'OrderedDict'): _MAPPING,
  ('_codecs', 'encode'): _Name('_codecs.encode', _encode),
  ('builtins', 'bytes'): _BYTES,
  ('__builtin__', 'bytes'): _BYTES,
  ('numpy', 'ndarray'): _NDARRAY,
  ('numpy', 'dtype'): _Name('numpy.dtype', _DType),
  # Until numpy 1 and since numpy 2.
  **{
    (f'numpy.{core}.{module}', name): value
    for core in ('core', '_core')
    for module, name, value in (
      ('multiarray', '_reconstruct', _RECONSTRUCT),
      ('multiarray', 'scalar', _Name('numpy scalar', _scalar)),
      ('numeric', '_frombuffer', _Name('numpy frombuffer', _from_buffer)),
    )
  },
  ('ml_dtypes', 'bfloat16'): _BFLOAT16,
  ('jaxlib.xla_extension', 'bfloat16'): _BFLOAT16,
  # jax since 0.3.19, just before that, and from 0.3.14 to 0.4.7; older ones
  # write their arrays as numpy arrays.
  ('jax._src.array', '_reconstruct_array'): _JAX_ARRAY,
  ('jax.experimental.array', '_reconstruct_array'): _JAX_ARRAY,
  ('jax._src.device_array', 'reconstruct_device_array'): _JAX_ARRAY,
  # Haiku until 0.0.2, and since 0.0.3.
  ('haiku._src.data_structures', 'frozendict'): _MAPPING,
  ('haiku._src.data_structures', 'FrozenDict'): _MAPPING,
  ('haiku._src.data_structures', 'FlatMapping'): _MAPPING,
  ('haiku._src.data_structures', 'FlatMap'): _MAPPING,
}


def _plain(value: Any, done: dict[int, Any]) -> Any:
  """Arrays out of arrays in the making, inside of containers.

  Args:
    value: from the unpickler, which keeps it alive.
    done: results by id, so that what occurs often is converted once; None
      while it is under way.
  """
  if isinstance(value, _PLAIN):
    return value
  if isinstance(value, _Array):
    if value.value is None:
      raise ValueError('an array without data')
    return value.value
  if not isinstance(value, dict | list | tuple):
    raise _RefusedError(f'it holds a {type(value).__name__}')
  if id(value) not in done:
    done[id(value)] = None
    if isinstance(value, dict):
      result = {
        _plain(key, done): _plain(item, done) for key, item in value.items()
      }
    else:
      result = type(value)(_plain(item, done) for item in value)
    done[id(value)] = result
  if done[id(value)] is None:
    raise ValueError('a container within itself')
  return done[id(value)]
