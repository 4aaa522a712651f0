"""Motion of a sensor on a body, on the host: cut, resample, turn, mirror.

Motion is float32 `[T, 6]`: acceleration along x, y, z of the sensor, gravity
included, in g; then the rate of rotation about x, y, z in rad/s. Every random
choice comes from the `np.random.Generator` that the caller hands in.
"""

import math

import numpy as np

# A mirror image across the plane of y and z. Rates of rotation are axial
# vectors: what a mirror keeps is the rate about its own normal.
_MIRRORED = np.array([-1, 1, 1, 1, -1, -1], np.float32)


def augment_motion(
  recording: np.ndarray,
  rng: np.random.Generator,
  *,
  start: int,
  num_steps: int,
  max_shift: int,
  max_speed: float,
  max_rotation: float,
  max_scale: float,
  noise: float,
  mirror_probability: float,
) -> np.ndarray:
  """Returns a window of a recording, changed at random.

  Args:
    recording: float32 `[T, 6]`.
    rng: source of randomness.
    start: first step of the window before it is moved.
    num_steps: of the window.
    max_shift: steps by which the window moves, uniform in +- this, inside the
      recording.
    max_speed: 0.25 is from 1 / 1.25 to 1.25 times as fast.
    max_rotation: degrees by which the sensor is turned on the wrist, uniform in
      +- this, about a random axis.
    max_scale: of both sensors, each by its own factor; 0.1 is 0.9 to 1.1.
    noise: standard deviation of what is added to each number, in g and rad/s.
    mirror_probability: of moving the sensor to the other arm.

  Returns:
    float32 `[num_steps, 6]`.
  """
  most = math.log1p(max_speed)
  motion = resample(
    recording,
    start=start + rng.uniform(-max_shift, max_shift),
    num_steps=num_steps,
    speed=math.exp(rng.uniform(-most, most)),
  )
  motion = turn(motion, random_rotation(max_rotation, rng))
  if rng.random() < mirror_probability:
    motion = motion * _MIRRORED
  scales = rng.uniform(1 - max_scale, 1 + max_scale, size=2)
  motion = motion * np.repeat(scales, 3)
  motion = motion + noise * rng.standard_normal(motion.shape)
  return motion.astype(np.float32)


def resample(
  recording: np.ndarray, *, start: float, num_steps: int, speed: float
) -> np.ndarray:
  """Cuts a window and plays it faster or slower, about its middle.

  Linear between the steps. Rates of rotation grow with the speed; acceleration
  is mostly gravity here and stays.

  Args:
    recording: `[T, 6]`.
    start: step at which the window would begin at speed 1; moved as little as
      needed for the window to lie inside the recording.
    num_steps: of the window.
    speed: steps of the recording a step of the window.

  Returns:
    `[num_steps, 6]`; at speed 1 and a whole start, a slice of the recording.
  """
  last = num_steps - 1
  latest = len(recording) - 1 - last * speed
  if latest < 0:
    raise ValueError(
      f'A window of {num_steps} steps at {speed:.2f} times the speed does not '
      f'fit into a recording of {len(recording)}. Choose shorter windows or a '
      'smaller max_speed.'
    )
  first = np.clip(start + last * (1 - speed) / 2, 0, latest)
  times = first + speed * np.arange(num_steps)
  before = np.clip(times.astype(np.int64), 0, len(recording) - 2)
  share = (times - before)[:, None]
  motion = (1 - share) * recording[before] + share * recording[before + 1]
  motion[:, 3:] *= speed
  return motion.astype(np.float32)


def random_rotation(max_degrees: float, rng: np.random.Generator) -> np.ndarray:
  """Returns a rotation about a random axis, `[3, 3]` float64.

  Args:
    max_degrees: the angle is uniform in +- this.
    rng: source of randomness.
  """
  axis = rng.standard_normal(3)
  x, y, z = axis / np.linalg.norm(axis)
  angle = math.radians(rng.uniform(-max_degrees, max_degrees))
  cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
  # Rodrigues' formula.
  return (
    np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
  )


def turn(motion: np.ndarray, rotation: np.ndarray) -> np.ndarray:
  """Applies a rotation `[3, 3]` to both vectors of motion `[T, 6]`."""
  return (motion.reshape(-1, 3) @ rotation.T).reshape(motion.shape)
