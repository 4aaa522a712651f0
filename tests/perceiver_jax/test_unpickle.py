"""Pickles of parameters, from many versions; and of everything else."""

import collections
import os
import pickle

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from haiku._src.data_structures import frozendict

from perceiver_jax.unpickle import load_arrays

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
NUMPY_1 = (b'numpy._core.', b'numpy.core.')


def network(x):
  return hk.BatchNorm(True, True, 0.9)(hk.nets.MLP([3, 2])(x), True)


@pytest.fixture(scope='module')
def trees():
  """Parameters and state as Haiku makes them: dicts of jax arrays."""
  model = hk.transform_with_state(network)
  return model.init(jax.random.key(0), jnp.ones((2, 4)))


def load(tmp_path, data):
  path = tmp_path / 'params.pickle'
  path.write_bytes(data)
  return load_arrays(path)


def refusal(tmp_path, data):
  with pytest.raises(ValueError) as error:
    load(tmp_path, data)
  assert str(tmp_path / 'params.pickle') in str(error.value)
  return str(error.value)


def assert_same(actual, expected):
  assert type(actual) is dict
  assert jax.tree.structure(actual) == jax.tree.structure(expected)
  for ours, theirs in zip(
    jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True
  ):
    assert type(ours) is np.ndarray
    assert ours.dtype == theirs.dtype and ours.dtype.isnative
    assert ours.flags.writeable
    np.testing.assert_array_equal(ours, np.asarray(theirs))


# What is read.


@pytest.mark.parametrize('protocol', PROTOCOLS)
@pytest.mark.parametrize('convert', [jnp.asarray, np.asarray])
def test_parameters_and_state(tmp_path, trees, protocol, convert):
  params, state = jax.tree.map(convert, trees)
  assert_same(load(tmp_path, pickle.dumps(params, protocol)), trees[0])
  both = {'params': params, 'state': state}
  assert_same(
    load(tmp_path, pickle.dumps(both, protocol)),
    {'params': trees[0], 'state': trees[1]},
  )


@pytest.mark.parametrize('protocol', PROTOCOLS)
@pytest.mark.parametrize(
  'mapping',
  [
    hk.data_structures.to_immutable_dict,
    lambda tree: frozendict({k: frozendict(v) for k, v in tree.items()}),
    lambda tree: collections.OrderedDict(tree),
  ],
  ids=['FlatMapping', 'frozendict', 'OrderedDict'],
)
def test_mappings_of_haiku(tmp_path, trees, mapping, protocol):
  data = pickle.dumps(mapping(trees[0]), protocol)
  assert_same(load(tmp_path, data), trees[0])


# In protocols up to 2 names are lines of text, so that they can be replaced.
OLD_NAMES = [
  (),
  (NUMPY_1,),
  (NUMPY_1, (b'jax._src.array', b'jax.experimental.array')),
  (
    NUMPY_1,
    (
      b'jax._src.array\n_reconstruct_array',
      b'jax._src.device_array\nreconstruct_device_array',
    ),
  ),
  (NUMPY_1, (b'ml_dtypes\n', b'jaxlib.xla_extension\n')),
  ((b'\nFlatMapping', b'\nFlatMap'),),
  ((b'\nFlatMapping', b'\nFrozenDict'),),
  ((b'\nFlatMapping', b'\nfrozendict'),),
]


@pytest.mark.parametrize('names', OLD_NAMES)
@pytest.mark.parametrize('protocol', [0, 2])
def test_names_of_other_versions(tmp_path, trees, names, protocol):
  tree = trees[0] | {'half': {'w': jnp.arange(3, dtype=jnp.bfloat16)}}
  data = pickle.dumps(hk.data_structures.to_immutable_dict(tree), protocol)
  for name, old_name in names:
    assert name in data
    data = data.replace(name, old_name)
  assert_same(load(tmp_path, data), tree)


@pytest.mark.parametrize('protocol', PROTOCOLS)
@pytest.mark.parametrize(
  'array',
  [
    *(np.arange(6).astype(kind) for kind in 'bBhHiIlLefdFD?'),
    np.arange(6, dtype='>f4'),
    np.arange(6, dtype=jnp.bfloat16),
    np.arange(24.0).reshape(2, 3, 4)[:, ::2],
    np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)),
    np.arange(24.0).reshape(2, 3, 4).transpose(1, 2, 0),
    np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1),
    np.zeros((3, 0), np.float32),
    np.float32(2.5),
    np.array(True),
  ],
  ids=lambda x: f'{x.dtype.str}-{x.shape}-{x.strides}',
)
def test_arrays_of_any_kind(tmp_path, array, protocol):
  tree = load(tmp_path, pickle.dumps({'x': array}, protocol))
  native = np.asarray(array, array.dtype.newbyteorder('='))
  assert_same(tree, {'x': native})


def test_a_buffer_that_is_read_only(tmp_path):
  array = np.frombuffer(b'12345678', np.float32)
  assert_same(load(tmp_path, pickle.dumps({'x': array}, 5)), {'x': array})


def test_plain_values_stay(tmp_path):
  tree = {'step': 3, 'name': 'x', 'parts': [1.5, None, (True, {0: 'a'})]}
  assert load(tmp_path, pickle.dumps(tree)) == tree


def test_what_is_shared_is_read_once(tmp_path):
  """Thirty lists, each twice in the next: too many to copy out."""
  tree = np.arange(2.0)
  for _ in range(30):
    tree = [tree, tree]
  tree = load(tmp_path, pickle.dumps({'x': tree}))['x']
  assert tree[0] is tree[1]


# What is refused.


class Call:
  """Pickled as a call."""

  def __init__(self, function, *arguments, state=None):
    self.reduced = (function, arguments, state)

  def __reduce__(self):
    return self.reduced


def touch(path):
  """What an attack would run: it leaves a file."""
  path.touch()


class Exploit:
  """Makes a file when it is called, unpickled or given a state."""

  def __new__(cls, *arguments):
    return super().__new__(cls)

  def __setstate__(self, path):
    touch(path)


@pytest.mark.parametrize('protocol', PROTOCOLS)
@pytest.mark.parametrize(
  'attack',
  [
    lambda path: Call(os.system, f'touch {path}'),
    lambda path: Call(eval, f'open({str(path)!r}, "w")'),
    lambda path: Call(exec, f'open({str(path)!r}, "w")'),
    lambda path: Call(getattr(path, 'touch')),  # noqa: B009
    lambda path: Call(touch, path),
    lambda path: Call(getattr, Call(__import__, 'os'), 'system'),
    lambda path: Call(Exploit, state=path),
    lambda path: [{'x': (1, Call(os.system, f'touch {path}'))}],
    lambda path: frozendict({'x': Call(os.system, f'touch {path}')}),
    lambda path: Call(np.load, path),
    lambda path: Call(np.save, path, np.ones(3)),
    lambda path: Call(np.memmap, path, np.uint8, 'w+', 0, (3,)),
    lambda path: Call(np.testing.measure, f'open({str(path)!r}, "w")'),
    lambda path: Call(hk.transform, touch),
    lambda path: Call(jax.device_put, np.ones(3)),
    lambda path: path,
  ],
)
def test_whatever_else_a_file_asks_for(tmp_path, attack, protocol):
  victim = tmp_path / 'victim'
  data = pickle.dumps({'w': np.ones(3), 'x': attack(victim)}, protocol)
  message = refusal(tmp_path, data)
  assert 'is refused, and nothing in it was run: it asks for ' in message
  assert not victim.exists()


def test_the_attacks_are_real(tmp_path):
  pickle.loads(pickle.dumps(Call(os.system, f'touch {tmp_path / "victim"}')))
  assert (tmp_path / 'victim').exists()


def name(module, function):
  return f'c{module}\n{function}\n'.encode()


RECONSTRUCT = name('numpy.core.multiarray', '_reconstruct')
NDARRAY = name('numpy', 'ndarray')
DTYPE = name('numpy', 'dtype')
FLOAT = DTYPE + b'(U\x02f4I00\nI01\ntR'
JAX = name('jax._src.array', '_reconstruct_array')
FLAT = name('haiku._src.data_structures', 'FlatMapping')
EMPTY = RECONSTRUCT + b'(' + NDARRAY + b'(I0\ntU\x01btR'
ENCODE = name('_codecs', 'encode')


@pytest.mark.parametrize(
  ('program', 'expected'),
  [
    (name('numpy.f2py.crackfortran', 'getlincoef'), 'it asks for numpy.f2py'),
    (name('numpy.testing._private.utils', 'runstring'), 'it asks for numpy.t'),
    (name('numpy.core.multiarray', 'fromfile'), 'it asks for numpy.core.multi'),
    (name('builtins', 'getattr'), 'it asks for builtins.getattr'),
    (name('__builtin__', 'eval'), 'it asks for __builtin__.eval'),
    (name('posix', 'system'), 'it asks for posix.system'),
    # Attributes of admitted names.
    (
      b'\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93',
      'numpy.ndarray.__c',
    ),
    (b'\x80\x04\x8c\x05numpy\x8c\x0bdtype.names\x93', 'numpy.dtype.names'),
    # Objects made in older ways: INST, OBJ.
    (b'(ios\nsystem\n', 'it asks for os.system'),
    (b'(' + name('os', 'system') + b'o', 'it asks for os.system'),
    (b'(inumpy\nndarray\n', 'it calls numpy.ndarray'),
    # _reconstruct of something else.
    (RECONSTRUCT + b'(' + name('subprocess', 'Popen'), 'asks for subprocess.P'),
    (RECONSTRUCT + b'(' + DTYPE + b'(I0\ntU\x01btR', 'is not an array'),
    (RECONSTRUCT + b'(' + FLAT + b'(I0\ntU\x01btR', 'is not an array'),
    (JAX + b'(' + ENCODE + b'(U\x01xU\x06latin1t}}tR', 'something else'),
    (JAX + b'(' + DTYPE + b'(U\x02f4t}}tR', 'something else'),
    (NDARRAY + b'(I3\ntR', 'it calls numpy.ndarray'),
    # Changing what other files will be read with.
    (FLAT + b'}U\x01xI1\nsb', 'it changes mapping'),
    (NDARRAY + b'(N}U\x01xI1\nstb', 'it changes numpy.ndarray'),
    (DTYPE + b'}U\x0c__setstate__I1\nsb', 'it changes numpy.dtype'),
    # Arrays of anything but numbers.
    (DTYPE + b'(U\x01OI00\nI01\ntR', "dtype 'O'"),
    (DTYPE + b'(U\x02O8I00\nI01\ntR', "dtype 'O8'"),
    (DTYPE + b'(U\x03V16I00\nI01\ntR', "dtype 'V16'"),
    (DTYPE + b'(U\x02U8I00\nI01\ntR', "dtype 'U8'"),
    (DTYPE + b'(' + NDARRAY + b'I00\nI01\ntR', 'dtype numpy.ndarray'),
    (FLOAT + b'(I3\nU\x01<N(U\x01xt}tb', 'an array of records'),
    (FLOAT + b'(I3\nU\x01<(U\x02f4tNNtb', 'an array of records'),
    (EMPTY + b'(I1\n(I1\nt' + FLOAT + b'I00\n]tb', 'an array of list'),
    (EMPTY + b'(I1\n(I1\ntU\x02f4I00\nU\x014tb', "dtype 'f4'"),
    (ENCODE + b'(U\x01xU\x05rot13tR', "encodes a text as 'rot13'"),
    (ENCODE + b'(I1\nU\x06latin1tR', 'encodes a text'),
    # Other values.
    (b'\x80\x04\x8f', 'it holds a set'),
    (FLOAT, 'it holds a'),
    (NDARRAY, 'it holds a'),
    (name('_codecs', 'encode') + b'(U\x01xU\x06latin1tR', 'it holds a bytes'),
  ],
)
def test_programs_of_pickle(tmp_path, program, expected):
  """Each is the value of x in a dict."""
  header = program[:2] if program.startswith(b'\x80') else b''
  data = header + b"}S'x'\n" + program[len(header) :] + b's.'
  message = refusal(tmp_path, data)
  assert 'is refused, and nothing in it was run' in message
  assert expected in message


@pytest.mark.parametrize(
  'program',
  [
    EMPTY,
    EMPTY + b'(I1\n(I3\nt' + FLOAT + b'I00\nC\x044444tb',  # Too few bytes.
    EMPTY + b'(I1\n(I-1\nI-1\nt' + FLOAT + b'I00\nC\x044444tb',
    EMPTY + b'(I1\nN' + FLOAT + b'I00\nC\x044444tb',
    EMPTY + b'(I7\n(I1\nt' + FLOAT + b'I00\nC\x044444tb',
    EMPTY + b'}b',
    FLOAT + b'I1\nb',
    FLAT + b'(I1\ntR',
    FLAT + b')\x81',  # NEWOBJ.
    b'}}I1\nI2\nsb',  # A state for a dict.
    b'Pother\n',  # Persistent ids.
    b'\x82\x01',  # Extension codes.
    b'\x80\x05\x97',  # Buffers beside the file.
    b'}]I1\ns',  # An unhashable key.
    b'](I1\ne' * 9 + b'a' * 5,
    b'(I2\nd',
  ],
)
def test_programs_that_make_no_sense(tmp_path, program):
  message = refusal(tmp_path, b"}S'x'\n" + program + b's.')
  assert 'is no pickle of parameters, or it is damaged' in message


def test_containers_within_themselves(tmp_path):
  tree = {}
  tree['x'] = [tree]
  assert 'within itself' in refusal(tmp_path, pickle.dumps(tree))
  deep = b"}S'x'\n" + b']' * 100_000 + b'a' * 99_999 + b's.'
  assert 'RecursionError' in refusal(tmp_path, deep)


def test_nothing_sticks_after_an_attack(tmp_path, trees):
  refusal(tmp_path, b'}' + DTYPE + b'}U\x05_callI1\nsbI1\ns.')
  assert_same(load(tmp_path, pickle.dumps(trees[0])), trees[0])


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_truncated_anywhere(tmp_path, trees, protocol):
  data = pickle.dumps(trees[0], protocol)
  for size in [0, 1, *range(2, len(data), 37), len(data) - 1]:
    message = refusal(tmp_path, data[:size])
    assert 'damaged or incomplete' in message


@pytest.mark.parametrize(
  'data', [b'', b'\x93NUMPY\x01\x00v', b'PK\x03\x04', b'{"a": 1}', b'\x00' * 99]
)
def test_files_of_other_kinds(tmp_path, data):
  assert 'is no pickle of parameters' in refusal(tmp_path, data)


def test_damaged_bytes_are_an_error_or_other_numbers(tmp_path):
  data = pickle.dumps({'a': {'w': np.ones((2, 3)), 'b': np.arange(4)}}, 4)
  rng = np.random.default_rng(0)
  for _ in range(500):
    damaged = bytearray(data)
    place, byte = rng.integers(len(data)), rng.integers(256)
    # LONG_BINPUT asks for memory at once, as much as its number says.
    damaged[place] = ord('s') if byte == ord('r') else byte
    try:
      assert type(load(tmp_path, damaged)) is dict
    except ValueError as error:
      assert 'params.pickle' in str(error)


@pytest.mark.parametrize('value', [[1, 2], np.ones(3), 'text', None])
def test_files_without_a_mapping(tmp_path, value):
  assert 'not a mapping' in refusal(tmp_path, pickle.dumps(value))


def test_no_file(tmp_path):
  with pytest.raises(FileNotFoundError, match=r'missing\.pickle'):
    load_arrays(tmp_path / 'missing.pickle')
