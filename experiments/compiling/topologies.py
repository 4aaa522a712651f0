"""Devices that are not here, by the names that people know them by.

v4:2x2x4, v5e:4x4    TPU chips, by their grid
v4-32, v5e-16, v3-8  the same as clouds name them; v5litepod-16 too
2*v4:2x2x4           two slices, with the data centre's network between them
h100:8, h200:8x2     GPUs of a host; GPUs of a host x hosts
"""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import jax
from jax.experimental import topologies

from experiments.compiling.hardware import CHIPS, GPUS, Chip, Gpu

_EXAMPLES = (
  'v4:2x2x4, v4-32, v3-8, v5e-16, v5p-8, v6e-8, 2*v5e:4x4, h100:8, h200:8x2'
)
_SPELLING = re.compile(r'(?:(\d+)\*)?([a-z]\w*?)(?:litepod)?([:-])([\dx]+)')
_GPUS_OF_A_HOST = 8


class Topology(Protocol):
  """Devices, and what lies between them.

  Attributes:
    name: as it may be given again.
    hardware: of each device.
  """

  name: str
  hardware: Chip | Gpu

  @property
  def num_devices(self) -> int:
    """Devices, as jax counts them."""

  @property
  def num_neighbours(self) -> int:
    """Devices that something faster than a network connects."""

  def description(self) -> str:
    """Returns what it is, in words."""

  def devices(self) -> list[jax.Device]:
    """Returns devices to compile for; they can do nothing else."""

  def exchange_rate(self, members: Sequence[int]) -> float:
    """Returns the bytes a second that each of some devices can send the others.

    Args:
      members: their places in `devices`; all send at the same time.
    """


class TpuSlices(NamedTuple):
  """Slices of a TPU pod, all alike: a grid of chips each.

  Attributes:
    hardware: of each device.
    grid: chips of a slice along each axis.
    slices: that the data centre's network connects.
  """

  hardware: Chip
  grid: tuple[int, ...]
  slices: int

  @property
  def name(self) -> str:
    """Such as 'v4:2x2x4' or '2*v4:2x2x4'."""
    several = f'{self.slices}*' if self.slices > 1 else ''
    return f'{several}{self.hardware.name}:{_times(self.grid)}'

  @property
  def num_devices(self) -> int:
    """Devices of all slices."""
    return self.slices * self._chips * self.hardware.devices

  @property
  def num_neighbours(self) -> int:
    """Devices of a slice."""
    return self.num_devices // self.slices

  @property
  def _chips(self) -> int:
    return math.prod(self.grid)

  def description(self) -> str:
    """Returns what it is, in words."""
    chip = self.hardware
    cloud = f'{chip.name}-{self._chips * chip.cores}'
    several = f'{self.slices} slices {cloud}' if self.slices > 1 else cloud
    return (
      f'{several}: {self.slices * self._chips} chips TPU {chip.name} '
      f'({_times(self.grid)}), {self.num_devices} jax devices'
    )

  def devices(self) -> list[jax.Device]:
    """Returns devices to compile for; they can do nothing else."""
    options = {}
    if self.hardware.name == 'v4':
      options['chip_config_name'] = 'megacore'  # A chip is one device.
    if self._chips == 1:
      options['chips_per_host_bounds'] = [1, 1, 1]
    if self.slices > 1:
      options['num_slices'] = self.slices
    return topologies.get_topology_desc(
      platform='tpu',
      topology_name=f'{self.hardware.name}:{_times(self.grid)}',
      **options,
    ).devices

  def exchange_rate(self, members: Sequence[int]) -> float:
    """Returns the bytes a second that each of some devices can send the others.

    That of its links along the axes on which they differ: two a chip where the
    ends of the axis are connected, otherwise the one that chips at the ends
    have. Between slices it is the network's.

    Args:
      members: their places in `devices`; all send at the same time.
    """
    places = [self._place(member) for member in members]
    if len({place[0] for place in places}) > 1:
      return self.hardware.network
    links = 0
    for axis, size in enumerate(self.grid):
      if len({place[1 + axis] for place in places}) > 1:
        links += 2 if size > 2 and size % self.hardware.ring == 0 else 1
    # The cores of a chip have its memory between them.
    return links * self.hardware.link if links else self.hardware.bandwidth

  def _place(self, index: int) -> tuple[int, ...]:
    """Slice and chip of a device; the first axis of the grid is the fastest."""
    index //= self.hardware.devices
    place = []
    for size in self.grid:
      index, rest = divmod(index, size)
      place.append(rest)
    return index, *place


class GpuHosts(NamedTuple):
  """Hosts of GPUs, all alike.

  Attributes:
    hardware: of each GPU.
    gpus: of a host.
    hosts: that a network connects.
  """

  hardware: Gpu
  gpus: int
  hosts: int

  @property
  def name(self) -> str:
    """Such as 'h100:8' or 'h100:8x2'."""
    several = f'x{self.hosts}' if self.hosts > 1 else ''
    return f'{self.hardware.name}:{self.gpus}{several}'

  @property
  def num_devices(self) -> int:
    """GPUs of all hosts."""
    return self.hosts * self.gpus

  @property
  def num_neighbours(self) -> int:
    """GPUs of a host."""
    return self.gpus

  def description(self) -> str:
    """Returns what it is, in words."""
    each = f'{self.gpus} x {self.hardware.name.upper()}'
    return f'{self.hosts} hosts of {each}' if self.hosts > 1 else each

  def devices(self) -> list[jax.Device]:
    """Returns devices to compile for; they can do nothing else."""
    return topologies.get_topology_desc(
      self.hardware.name,
      platform='cuda',
      target_config=self.hardware.target,
      topology=f'1x{self.hosts}x{self.gpus}',
    ).devices

  def exchange_rate(self, members: Sequence[int]) -> float:
    """Returns the bytes a second that each of some devices can send the others.

    Args:
      members: their places in `devices`; all send at the same time.
    """
    hosts = {member // self.gpus for member in members}
    return self.hardware.link if len(hosts) == 1 else self.hardware.network


def find_topology(name: str, slices: int = 1) -> TpuSlices | GpuHosts:
  """Returns the topology that a name means.

  Args:
    name: see the head of this file.
    slices: of TPUs, where the name does not say it.

  Raises:
    ValueError: there is none such; says what there is.
  """
  found = _SPELLING.fullmatch(name.strip().lower())
  if not found:
    raise ValueError(
      f'--topology={name} is not understood. Such names are: {_EXAMPLES}.'
    )
  several, kind, between, numbers = found.groups()
  kind = {'v5': 'v5e'}.get(kind, kind)
  slices = int(several or slices)
  sizes = tuple(int(size) for size in numbers.split('x') if size)
  if slices < 1 or not sizes or min(sizes) < 1 or numbers.endswith('x'):
    raise ValueError(
      f'--topology={name} with --slices={slices} has no devices. Such names '
      f'are: {_EXAMPLES}.'
    )
  if kind in GPUS:
    return _gpus(name, GPUS[kind], sizes, slices)
  if kind in CHIPS:
    grid = sizes if between == ':' else _cloud_grid(name, CHIPS[kind], sizes)
    return _tpus(name, CHIPS[kind], grid, slices)
  raise ValueError(
    f'--topology={name}: {kind!r} is not known. Choose one of '
    f'{", ".join([*CHIPS, *GPUS])}, such as {_EXAMPLES}.'
  )


def _gpus(name: str, gpu: Gpu, sizes: tuple[int, ...], slices: int) -> GpuHosts:
  gpus, hosts = (*sizes, 1)[:2]
  if len(sizes) > 2 or gpus > _GPUS_OF_A_HOST or slices > 1:
    raise ValueError(
      f'--topology={name} must be {gpu.name}:GPUS or {gpu.name}:GPUSxHOSTS '
      f'with at most {_GPUS_OF_A_HOST} GPUs of a host, such as '
      f'{gpu.name}:8x2; slices are for TPUs.'
    )
  return GpuHosts(gpu, gpus, hosts)


def _tpus(
  name: str, chip: Chip, grid: tuple[int, ...], slices: int
) -> TpuSlices:
  chips = math.prod(grid)
  if len(grid) != chip.axes or chips > chip.most_chips:
    axes = 'x'.join('ABC'[: chip.axes])
    raise ValueError(
      f'--topology={name} must be a grid {chip.name}:{axes} of at most '
      f'{chip.most_chips:,} chips, such as '
      f'{chip.name}:{_times(_grid_of(chip, 8))}.'
    )
  if chips > 1 and any(size % 2 for size in grid[:2]):
    raise ValueError(
      f'--topology={name}: the first two sizes of a grid are even, as hosts '
      f'have 2 x 2 chips. Try {chip.name}:{_times(_grid_of(chip, 4))}, or one '
      f'chip alone, {chip.name}:{_times((1,) * chip.axes)}.'
    )
  return TpuSlices(chip, grid, slices)


def _cloud_grid(
  name: str, chip: Chip, sizes: tuple[int, ...]
) -> tuple[int, ...]:
  """The grid of 'v4-32'; clouds count cores for v3, v4 and v5p."""
  chips, rest = divmod(sizes[0], chip.cores)
  power = chips > 0 and chips & (chips - 1) == 0
  if len(sizes) > 1 or rest or not power or chips > chip.most_chips:
    known = ', '.join(
      f'{chip.name}-{count * chip.cores}' for count in (4, 8, 16, 32, 64)
    )
    raise ValueError(
      f'--topology={name} is not the name of a slice. Such are {known}; other '
      f'grids are spelt {chip.name}:{_times(_grid_of(chip, 16))}.'
    )
  return _grid_of(chip, chips)


def _grid_of(chip: Chip, chips: int) -> tuple[int, ...]:
  """The grid of so many chips, a power of two, that clouds give by default."""
  grid = [1] * chip.axes
  while math.prod(grid) < chips:
    # 2 x 2 first, then the last of the shortest axes.
    if math.prod(grid) < 4:
      axis = grid.index(1)
    else:
      axis = max(range(len(grid)), key=lambda axis: (-grid[axis], axis))
    grid[axis] *= 2
  return tuple(grid)


def _times(sizes: Sequence[int]) -> str:
  return 'x'.join(map(str, sizes))
