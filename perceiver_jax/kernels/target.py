"""Which devices the kernels are for."""

from perceiver_jax.portability import target_device

# Their compiler knows no products of bfloat16 in kernels.
_WITHOUT_KERNELS = ('TPU v2', 'TPU v3')


def is_taken() -> bool:
  """Whether the devices that are traced for take kernels for TPUs."""
  device = target_device()
  return (
    device is not None
    and device.platform == 'tpu'
    and device.device_kind not in _WITHOUT_KERNELS
  )
