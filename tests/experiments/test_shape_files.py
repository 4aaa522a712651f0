"""Shapes as programs write them: the surface and the points that are there."""

import pathlib
import struct

import numpy as np
import pytest
import trimesh

from experiments.modalities.points import meshes
from experiments.modalities.points.files import read_shape
from experiments.modalities.points.meshes import parse_obj, parse_off
from experiments.modalities.points.ply import parse_ply

# A pyramid: a square and four triangles.
VERTICES = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0.5, 0.5, 1)]
FACES = [(3, 2, 1, 0), (0, 1, 4), (1, 2, 4), (2, 3, 4), (3, 0, 4)]
AREA, VOLUME = 1 + 2 * np.sqrt(1.25), 1 / 3


def check(mesh):
  """Closed forms of the pyramid, by another library."""
  np.testing.assert_array_equal(mesh.vertices, VERTICES)
  solid = trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False)
  assert solid.is_volume
  assert solid.area == pytest.approx(AREA)
  assert solid.volume == pytest.approx(VOLUME)


def lines(rows):
  return ''.join(' '.join(map(str, row)) + '\n' for row in rows)


def sized(faces):
  return [(len(face), *face) for face in faces]


# OFF.


def coloured(rows):
  return [(*row, 255, 0.5, 0, 255) for row in rows]


OFFS = {
  'plain': 'OFF\n5 5 8\n' + lines(VERTICES) + lines(sized(FACES)),
  'comments': '# of\nOFF # an\n5 5 8 # 7\n'
  + lines(VERTICES)
  + '# faces\n'
  + lines(sized(FACES)),
  'colours of faces': 'OFF\n5 5 8\n'
  + lines(VERTICES)
  + lines(coloured(sized(FACES))),
  'colours of vertices': 'COFF\n5 5 8\n'
  + lines(coloured(VERTICES))
  + lines(sized(FACES)),
  'normals': 'NOFF\n5 5 8\n'
  + lines((*vertex, 0, 0, 1) for vertex in VERTICES)
  + lines(sized(FACES)),
  'all of them': 'STCNOFF\n5 5 8\n'
  + lines((*coloured([vertex])[0], 0, 0, 1, 0.3, 0.7) for vertex in VERTICES)
  + lines(coloured(sized(FACES))),
  'colours without a word': 'OFF\n5 5 8\n'
  + lines(coloured(VERTICES))
  + lines(sized(FACES)),
}


@pytest.mark.parametrize('text', OFFS.values(), ids=OFFS)
def test_off(text):
  check(parse_off(text.encode(), 'x.off'))


@pytest.mark.parametrize(
  'text',
  ['4OFF\n1 0 0\n0 0 0 1\n', 'OFF BINARY\n', 'OFF\n-1 2 0\n', 'OFF\n1 -1 0\n'],
)
def test_off_of_another_kind_is_refused(text):
  with pytest.raises(ValueError, match=r'x\.off'):
    parse_off(text.encode(), 'x.off')


# OBJ.


def obj(corner):
  """A vertex right before the first face that needs it, as some write them."""
  text, known = '', 0
  for face in sorted(FACES, key=max):
    text += lines(('v', *VERTICES[i]) for i in range(known, max(face) + 1))
    known = max(known, max(face) + 1)
    text += lines([('f', *(corner(i, known) for i in face))])
  return text


OBJS = {
  'numbers': obj(lambda i, known: i + 1),
  'numbers from the end': obj(lambda i, known: i - known),
  'textures and normals': obj(lambda i, known: f'{i + 1}/1/2'),
  'normals': obj(lambda i, known: f'{i - known}//-1'),
  'colours and comments': 'mtllib x.mtl\n# of\no x\nvt 0 0\n'
  + obj(lambda i, known: i + 1).replace('v 1 1 0', 'v 1 1 0 0.5 0.5 0.5 # 7'),
  'lines that go on': obj(lambda i, known: i + 1).replace(' 1 5', ' 1 \\\n5'),
}


@pytest.mark.parametrize('text', OBJS.values(), ids=OBJS)
def test_obj(text):
  check(parse_obj(text.encode(), 'x.obj'))


@pytest.mark.parametrize('corner', ['0', '9', '-9', 'x', '1.5', '/1'])
def test_obj_with_an_impossible_corner(corner):
  text = 'v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 ' + corner
  with pytest.raises(ValueError, match=r'x\.obj .*a face of vertex'):
    parse_obj(text.encode(), 'x.obj')


@pytest.mark.parametrize('target', ['/dev/zero', '../../etc/passwd', 'x.mtl'])
@pytest.mark.parametrize('suffix', ['.obj', '.ply', '.stl', '.off'])
def test_no_other_file_is_opened(tmp_path, monkeypatch, suffix, target):
  path = tmp_path / f'x{suffix}'
  trimesh.Trimesh(VERTICES, [(0, 1, 4), (1, 2, 4)]).export(
    path, **({'encoding': 'ascii'} if suffix == '.ply' else {})
  )
  (tmp_path / 'x.mtl').write_text('newmtl a\nmap_Kd /dev/zero\n')
  text = path.read_bytes()
  if suffix == '.obj':
    text = b'mtllib %s\nusemtl a\n' % target.encode() + text
  if suffix == '.ply':
    text = text.replace(
      b'format ascii 1.0\n',
      b'format ascii 1.0\ncomment TextureFile %s\n' % target.encode(),
    )
    assert target.encode() in text
  path.write_bytes(text)
  opened = []
  for module, function in ((pathlib.io, 'open'), (pathlib.os, 'open')):
    original = getattr(module, function)

    def noted(file, *rest, _original=original, **options):
      opened.append(str(file))
      return _original(file, *rest, **options)

    monkeypatch.setattr(module, function, noted)
  monkeypatch.setattr('builtins.open', pathlib.io.open)
  assert read_shape(path, 8).shape == (8, 3)
  assert set(opened) == {str(path)}


# PLY.


def ply(file_format, kind='double', head='', more=()):
  names = 'xyz' + ''.join(f'{name}' for name, _ in more)
  rows = [(*vertex, *(value for _, value in more)) for vertex in VERTICES]
  own = ''.join(f'property {kind} {name}\n' for name in names)
  text = (
    f'ply\nformat {file_format} 1.0\ncomment of a test\n{head}'
    f'element vertex 5\n{own}element face 5\n'
    'property list uchar int vertex_indices\nend_header\n'
  ).encode()
  if file_format == 'ascii':
    return text + (lines(rows) + lines(sized(FACES))).encode()
  order = '<' if 'little' in file_format else '>'
  letter = {'double': 'd', 'float': 'f', 'int': 'i'}[kind]
  return (
    text
    + b''.join(struct.pack(f'{order}{len(r)}{letter}', *r) for r in rows)
    + b''.join(struct.pack(f'{order}B{len(f)}i', len(f), *f) for f in FACES)
  )


FORMATS = ['ascii', 'binary_little_endian', 'binary_big_endian']


@pytest.mark.parametrize('file_format', FORMATS)
@pytest.mark.parametrize('kind', ['double', 'float'])
@pytest.mark.parametrize('more', [(), (('a', 5.0), ('b', -1.0))])
def test_ply_of_mixed_polygons(file_format, kind, more):
  check(parse_ply(ply(file_format, kind, more=more), 'x.ply'))
  text = ply(file_format, kind, more=more)
  head, mark, body = text.partition(b'end_header\n')
  with_returns = (head + mark).replace(b'\n', b'\r\n') + body
  check(parse_ply(with_returns, 'x.ply'))


@pytest.mark.parametrize('encoding', ['ascii', 'binary'])
def test_ply_as_another_library_writes_it(encoding):
  ball = trimesh.creation.icosphere(2)
  ball.visual.vertex_colors = np.tile([9, 8, 7, 255], (len(ball.vertices), 1))
  mesh = parse_ply(ball.export(file_type='ply', encoding=encoding), 'x.ply')
  np.testing.assert_allclose(mesh.vertices, ball.vertices, atol=1e-6)
  np.testing.assert_array_equal(mesh.triangles, ball.faces)


@pytest.mark.parametrize('file_format', FORMATS)
def test_ply_that_is_cut(file_format):
  whole = ply(file_format)
  for size in range(0, len(whole) - 2, 7):
    with pytest.raises(ValueError, match=r'x\.ply'):
      parse_ply(whole[:size], 'x.ply')


@pytest.mark.parametrize('file_format', FORMATS)
@pytest.mark.parametrize('count', [10**12, 10**30])
def test_ply_that_states_far_too_much(file_format, count):
  for element in (b'vertex', b'face'):
    data = ply(file_format).replace(
      b'element %s 5' % element, b'element %s %d' % (element, count)
    )
    with pytest.raises(ValueError, match=r'x\.ply'):
      parse_ply(data, 'x.ply')
  with pytest.raises(ValueError, match='strips of triangles'):
    head = 'element tristrips 1\nproperty list int int vertex_indices\n'
    parse_ply(ply(file_format, head=head), 'x.ply')


# Points.

CLOUD = np.random.default_rng(0).standard_normal((300, 3)) * [1, 0.5, 0.2]
FAR = np.array([500_000, 4_649_776, 100])


def text_of(points, **options):
  rows = '\n'.join(' '.join(f'{x:.5f}' for x in row) for row in points)
  for old, new in options.get('replaced', ()):
    rows = rows.replace(old, new)
  return options.get('head', '') + rows


TEXTS = {
  'far from the origin': text_of(CLOUD + FAR),
  'decimal commas': text_of(CLOUD, replaced=[('.', ',')]),
  'decimal commas, semicolons': text_of(
    CLOUD, replaced=[(' ', ';'), ('.', ',')]
  ),
  'a header': text_of(CLOUD, head='x y z\n'),
  'a header of another order': text_of(CLOUD[:, ::-1], head='Z Y X\n'),
  'a header and a number': text_of(
    np.column_stack([np.arange(300), CLOUD]), head='id x y z\n'
  ),
  'a header of CloudCompare': text_of(
    np.column_stack([CLOUD, CLOUD]), head='//X Y Z R G B\n'
  ),
  'a count': text_of(CLOUD, head='300\n'),
  'a mark': '\ufeff' + text_of(CLOUD),
  'commas and spaces': text_of(CLOUD, replaced=[(' ', ', ')]),
  'a comment': '# three words here\n' + text_of(CLOUD),
}


def check_cloud(points, atol=1e-4):
  expected = CLOUD - CLOUD.mean(axis=0)
  expected /= np.linalg.norm(expected, axis=1).max()
  assert points.dtype == np.float32
  # In random order: row by row by the nearest.
  distances = np.linalg.norm(points[:, None] - expected[None], axis=-1)
  assert sorted(distances.argmin(axis=1)) == list(range(300))
  assert distances.min(axis=1).max() < atol


@pytest.mark.parametrize('suffix', ['.xyz', '.pts', '.txt'])
@pytest.mark.parametrize('text', TEXTS.values(), ids=TEXTS)
def test_points_of_text(tmp_path, suffix, text):
  path = tmp_path / f'x{suffix}'
  path.write_text(text, encoding='utf-8')
  check_cloud(read_shape(path, 1024))


@pytest.mark.parametrize('points', [CLOUD + FAR, CLOUD.T, (CLOUD + FAR).T])
def test_points_of_arrays(tmp_path, points):
  np.save(tmp_path / 'x.npy', points)
  check_cloud(read_shape(tmp_path / 'x.npy', 1024))


def test_points_of_ply_far_from_the_origin(tmp_path):
  path = tmp_path / 'x.ply'
  head = 'ply\nformat ascii 1.0\nelement vertex 300\n'
  head += ''.join(f'property double {axis}\n' for axis in 'xyz')
  path.write_text(head + 'end_header\n' + text_of(CLOUD + FAR))
  check_cloud(read_shape(path, 1024))


def test_a_surface_far_from_the_origin_keeps_its_shape(tmp_path):
  path = tmp_path / 'x.obj'
  far = [tuple(map(float, np.add(vertex, FAR))) for vertex in VERTICES]
  text = lines(('v', *vertex) for vertex in far)
  path.write_text(text + lines(('f', *np.add(face, 1)) for face in FACES))
  points = read_shape(path, 1024)
  assert len(np.unique(points[:, 0])) > 900
  # Width, depth and height of the pyramid are 1.
  sides = np.ptp(points, axis=0)
  np.testing.assert_allclose(sides / sides[0], 1, atol=0.05)


def test_arrays_that_are_no_points(tmp_path):
  for array in (np.zeros((5, 3), np.complex64), np.zeros((2, 2, 3))):
    np.save(tmp_path / 'x.npy', array)
    with pytest.raises(ValueError, match=r'x\.npy is no shape'):
      read_shape(tmp_path / 'x.npy', 8)


@pytest.mark.parametrize(
  ('name', 'data'),
  [
    ('x.off', b'OFF\n9000000 1 0\n0 0 0\n'),
    ('x.off', b'OFF\n3 9000000 0\n0 0 0\n'),
    (
      'x.ply',
      b'ply\nformat ascii 1.0\nelement vertex 9000000\nproperty float x\n'
      b'end_header\n',
    ),
    ('x.obj', b'v 0 0 0\n' + b'\nf 1 1 1' * 40),
    ('x.stl', b'solid\n' + b' outer loop\n' * 40),
    ('x.stl', bytes(84 + 50 * 40)),
  ],
)
def test_shapes_of_very_many_parts_are_refused_before_they_are_read(
  tmp_path, monkeypatch, name, data
):
  if name[-3:] in ('obj', 'stl'):  # Which state nothing: they are counted.
    monkeypatch.setattr(meshes, 'MOST_ELEMENTS', 39)
  path = tmp_path / name
  path.write_bytes(data)
  with pytest.raises(ValueError, match=r'x\.\w+ is too large: it has'):
    read_shape(path, 10)
