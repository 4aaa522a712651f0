"""What makers publish of the devices that programs are compiled for.

A device is what jax counts as one: a core of a TPU v3, a chip of later TPUs, a
GPU. Rates are the best ones, dense and in bfloat16.
"""

from typing import NamedTuple

_GIB = 2**30


class Chip(NamedTuple):
  """A generation of TPUs; rates and bytes of one jax device.

  Attributes:
    name: in the names of topologies.
    memory: bytes that a program may use, as the compiler states them when it
      refuses one.
    rate: bfloat16 operations a second.
    bandwidth: bytes a second of the memory.
    clock: cycles a second, with which estimated cycles become seconds.
    link: bytes a second in one direction over one link of a chip to its
      neighbour.
    network: bytes a second in one direction to other slices.
    axes: of the grid of chips.
    cores: that a chip counts as in the names of clouds.
    devices: of jax on a chip.
    ring: chips along an axis from which on its ends are connected.
    most_chips: of one slice.
    kernel_share: of the best rate, what the schedules of our attention kernels
      reach at ImageNet's shape; None where there are none.
  """

  name: str
  memory: float
  rate: float
  bandwidth: float
  clock: float
  link: float
  network: float
  axes: int
  cores: int
  devices: int
  ring: int
  most_chips: int
  kernel_share: float | None


class Gpu(NamedTuple):
  """A GPU in hosts of eight that NVLink connects.

  Attributes:
    name: in the names of topologies.
    memory: bytes that a program may use.
    rate: bfloat16 operations a second.
    bandwidth: bytes a second of the memory.
    link: bytes a second in one direction to the other GPUs of the host.
    network: bytes a second in one direction to other hosts.
    target: what XLA's compiler is told of it, a GpuTargetConfigProto.
  """

  name: str
  memory: float
  rate: float
  bandwidth: float
  link: float
  network: float
  target: str


# Sources. Rates, memory, links: cloud.google.com/tpu/docs/v3, /v4, /v5e, /v5p,
# /v6e, and for the links of v3 and v4 table 4 of arXiv 2304.01433 (70 and 50
# GB/s); 1,600, 4,800 and 3,584 Gbit/s over the 4, 6 and 4 links of v5e, v5p and
# v6e. Clocks: v3, v4 the same table; the later ones follow from rate and
# matrix units. Networks: 'How to Scale Your Model', jax-ml.github.io/
# scaling-book, for v5p; 6.4 and 25.6 Tbit/s for the 256 chips of a pod of v5e
# and v6e; nobody publishes those of v3 and v4, taken to be 25 Gbit/s a chip.
# Shares of kernels: docs/performance.md; v5p has the cores of v4.
CHIPS = {
  chip.name: chip
  for chip in (
    Chip(
      name='v3',
      memory=15.48 * _GIB,
      rate=123e12 / 2,
      bandwidth=900e9 / 2,
      clock=0.94e9,
      link=70e9 / 2,
      network=3.125e9 / 2,
      axes=2,
      cores=2,
      devices=2,
      ring=32,
      most_chips=1024,
      kernel_share=None,
    ),
    Chip(
      name='v4',
      memory=30.75 * _GIB,
      rate=275e12,
      bandwidth=1228e9,
      clock=1.05e9,
      link=50e9,
      network=3.125e9,
      axes=3,
      cores=2,
      devices=1,
      ring=4,
      most_chips=4096,
      kernel_share=0.66,
    ),
    Chip(
      name='v5e',
      memory=15.75 * _GIB,
      rate=197e12,
      bandwidth=819e9,
      clock=1.5e9,
      link=50e9,
      network=3.125e9,
      axes=2,
      cores=1,
      devices=1,
      ring=16,
      most_chips=256,
      kernel_share=0.77,
    ),
    Chip(
      name='v5p',
      memory=95.74 * _GIB,
      rate=459e12,
      bandwidth=2765e9,
      clock=1.75e9,
      link=100e9,
      network=6.25e9,
      axes=3,
      cores=2,
      devices=1,
      ring=4,
      most_chips=6144,
      kernel_share=0.66,
    ),
    Chip(
      name='v6e',
      memory=31.25 * _GIB,
      rate=918e12,
      bandwidth=1640e9,
      clock=1.75e9,
      link=112e9,
      network=12.5e9,
      axes=2,
      cores=1,
      devices=1,
      ring=16,
      most_chips=256,
      kernel_share=0.46,
    ),
  )
}

# Of a GPU's memory, what jax takes for itself unless it is told otherwise,
# docs.jax.dev/en/latest/gpu_memory_allocation.html.
MEMORY_FRACTION = 0.75
_HOPPER = """
gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32
  shared_memory_per_block: 49152 shared_memory_per_core: 233472
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535
  block_dim_limit_z: 65535 memory_bandwidth: {bandwidth}
  l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: {memory} shared_memory_per_block_optin: 232448
  cuda_compute_capability {{ major: 9 }}
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 }}
runtime_version {{ major: 13 }}
device_description_str: "{description}"
"""


def _hopper(name: str, memory: int, bandwidth: int, description: str) -> Gpu:
  """A GPU with the cores of an H100 SXM: 989 trillion operations a second.

  NVLink moves 450 GB/s each way, and each GPU has a network card of 400 Gbit/s:
  nvidia.com/en-us/data-center/h100, /h200 and the DGX H100 user guide.
  """
  return Gpu(
    name=name,
    memory=MEMORY_FRACTION * memory,
    rate=989e12,
    bandwidth=bandwidth,
    link=450e9,
    network=50e9,
    target=_HOPPER.format(
      bandwidth=bandwidth, memory=memory, description=description
    ),
  )


GPUS = {
  gpu.name: gpu
  for gpu in (
    _hopper('h100', 84_929_347_584, 3_352_320_000_000, 'NVIDIA H100 80GB HBM3'),
    _hopper('h200', 150_754_820_096, 4_800_000_000_000, 'NVIDIA H200'),
  )
}

# Operations a second in bfloat16 by what jax calls a kind of device. Rates of
# GPUs that programs are not compiled for here: nvidia.com/en-us/data-center,
# data sheets of A100, H100 and B200, without sparsity.
_RATES = {
  'TPU v3': CHIPS['v3'].rate,
  'TPU v4': CHIPS['v4'].rate,
  'TPU v5 lite': CHIPS['v5e'].rate,
  'TPU v5e': CHIPS['v5e'].rate,
  'TPU v5': CHIPS['v5p'].rate,
  'TPU v5p': CHIPS['v5p'].rate,
  'TPU v6 lite': CHIPS['v6e'].rate,
  'TPU v6e': CHIPS['v6e'].rate,
  'NVIDIA A100-SXM4-40GB': 312e12,
  'NVIDIA A100-SXM4-80GB': 312e12,
  'NVIDIA A100-PCIE-40GB': 312e12,
  'NVIDIA A100 80GB PCIe': 312e12,
  'NVIDIA H100 PCIe': 756e12,
  'NVIDIA H100 80GB HBM3': GPUS['h100'].rate,
  'NVIDIA H200': GPUS['h200'].rate,
  'NVIDIA B200': 2250e12,
}


def peak_rate(device_kind: str) -> float | None:
  """Returns the best rate of a kind of device; None where it is not known.

  Args:
    device_kind: as `jax.Device.device_kind`.

  Returns:
    Operations a second, dense and in bfloat16.
  """
  return _RATES.get(device_kind)
