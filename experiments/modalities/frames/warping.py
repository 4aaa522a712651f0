"""Pairs of frames with known motion, made from one photograph.

Both frames are looks at one scene: the photograph, interpolated between its
pixels and mirrored at its borders. `place` maps a point of the frames to the
scene, and with a flow f given for each pixel x of the first frame

  frame 2 at x is scene(place(x)),
  frame 1 at x is scene(place(x + f(x))).

So the first frame at x is what the second shows at x + f(x), exactly and also
between pixels: where x + f(x) is a pixel, both have the same colour to the bit.
Nothing is estimated, and nothing is occluded as long as x + f(x) is one to one,
which smooth and small flow is. A point may move out of the second frame; its
flow is still known.

Every random choice comes from the `np.random.Generator` that the caller hands
in.
"""

import cv2
import numpy as np

# Nodes of the random displacements along each side of a frame.
_NODES = 4


def random_flow(
  shape: tuple[int, int],
  rng: np.random.Generator,
  *,
  max_shift: float,
  max_linear: float,
  max_bend: float,
) -> np.ndarray:
  """Returns smooth random motion, float32 `[H, W, 2]`, right and down.

  Args:
    shape: `(H, W)`.
    rng: of all choices.
    max_shift: pixels by which all move together, at most, in any direction.
    max_linear: largest entry of the matrix that moves points relative to the
      centre: zoom, rotation, shear; 0.1 moves the end of 40 pixels by 4.
    max_bend: pixels of further displacement at the 4 x 4 nodes of a cubic
      surface, at most, on each axis.
  """
  height, width = shape
  angle, size = rng.uniform(0, 2 * np.pi), max_shift * np.sqrt(rng.uniform())
  shift = size * np.array([np.cos(angle), np.sin(angle)])
  matrix = rng.uniform(-max_linear, max_linear, (2, 2))
  nodes = rng.uniform(-max_bend, max_bend, (_NODES, _NODES, 2))
  centred = pixel_grid(shape) - np.array([width - 1, height - 1]) / 2
  bend = cv2.resize(nodes, (width, height), interpolation=cv2.INTER_CUBIC)
  return (shift + centred @ matrix.T + bend).astype(np.float32)


def random_placement(
  shape: tuple[int, int],
  scene_shape: tuple[int, int],
  rng: np.random.Generator,
  *,
  max_zoom: float,
  max_rotation: float,
) -> np.ndarray:
  """Returns `[2, 3]` float64 that maps a point (x, y, 1) of a frame to a scene.

  The frame lies somewhere in the scene, turned, mirrored or not, and bigger or
  smaller. Where it does not fit, it sticks out.

  Args:
    shape: `(H, W)` of the frame.
    scene_shape: `(H, W)` of the photograph.
    rng: of all choices.
    max_zoom: largest factor, either way, between pixels of the two.
    max_rotation: degrees, to either side.
  """
  zoom = max_zoom ** rng.uniform(-1.0, 1.0)
  angle = np.deg2rad(rng.uniform(-max_rotation, max_rotation))
  matrix = zoom * np.array(
    [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
  )
  matrix[:, 0] *= rng.choice([-1.0, 1.0])
  centre, scene = (
    (np.array([width, height]) - 1) / 2
    for height, width in (shape, scene_shape)
  )
  reach = np.abs(matrix) @ centre
  free = np.maximum(scene - reach, 0.0)
  middle = scene + rng.uniform(-free, free)
  return np.column_stack([matrix, middle - matrix @ centre])


def warped_pair(
  photograph: np.ndarray, flow: np.ndarray, place: np.ndarray
) -> np.ndarray:
  """Returns two frames of a photograph between which the flow is known.

  Args:
    photograph: uint8 `[h, w, 3]`. Where `place` shrinks it, shrink it before:
      pixels of the scene that fall between those of a frame are not averaged.
    flow: float32 `[H, W, 2]` of each pixel of the first frame.
    place: `[2, 3]`, from a point (x, y, 1) of the frames to the photograph.

  Returns:
    float32 `[2, H, W, 3]`, from 0 to 255.
  """
  grid = pixel_grid(flow.shape[:2])
  return np.stack(
    [
      _look_up(photograph, points @ place[:, :2].T + place[:, 2])
      for points in (grid + flow, grid)
    ]
  )


def pixel_grid(shape: tuple[int, int]) -> np.ndarray:
  """Returns `[H, W, 2]` float64: x and y of each pixel."""
  rows, columns = np.indices(shape, np.float64)
  return np.stack([columns, rows], axis=-1)


def _look_up(scene: np.ndarray, points: np.ndarray) -> np.ndarray:
  """The scene at points `[H, W, 2]`, linear between its pixels.

  OpenCV rounds points to 1/32 pixel, so this is done here.
  """
  height, width = scene.shape[:2]
  x, left = _fold(points[..., 0], width)
  y, top = _fold(points[..., 1], height)
  rows = scene.reshape(height * width, -1)
  first = top * width + left
  corners = (
    rows.take(first + offset, axis=0).astype(np.float32)
    for offset in (0, 1, width, width + 1)
  )
  upper_left, upper_right, lower_left, lower_right = corners
  upper = upper_left + x * (upper_right - upper_left)
  lower = lower_left + x * (lower_right - lower_left)
  return upper + y * (lower - upper)


def _fold(coordinates: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
  """Coordinates mirrored into an axis of `size` pixels, split in two.

  Returns:
    `[H, W, 1]` float32, how far beyond a pixel; and `[H, W]`, which one.
  """
  period = 2 * (size - 1)
  folded = np.mod(coordinates, period)
  folded = np.minimum(folded, period - folded)
  pixel = np.minimum(folded.astype(np.intp), size - 2)
  return (folded - pixel).astype(np.float32)[..., None], pixel
