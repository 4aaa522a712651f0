"""Operations of a step, as the papers count them, and the peak of devices."""

import jax
import pytest

from experiments.compiling.hardware import peak_rate
from experiments.configs import digits, imagenet
from experiments.host.configuration import fill_defaults
from experiments.measuring.forward_pass import forward_operations
from experiments.runs.experiment import bind
from experiments.watching.speed import Speed, speed_of


def task_of(config):
  return bind(fill_defaults(config), None).task


def test_imagenet_has_the_operations_of_the_paper():
  # 707 billion an image: table 6 of the first paper.
  counted = forward_operations(task_of(imagenet.get_config()))
  assert counted == pytest.approx(707e9, rel=0.005)


def test_a_step_is_three_forward_passes_of_its_batch():
  task = task_of(digits.get_config())
  one = forward_operations(task)
  # 2 x (32 x 784 x 96 x 2) of scores and values alone, in two cross-attends.
  assert one > 2 * 2 * (32 * 784 * 96 * 2)
  speed = speed_of(task, 64)
  assert speed.operations == 3 * 64 * one / jax.device_count()
  assert speed.kind == 'cpu' and speed.peak is None
  assert 'peak of a device: unknown (cpu).' in speed.describe()


@pytest.mark.parametrize(
  ('kind', 'peak'),
  [
    ('TPU v4', 275e12),
    ('TPU v5 lite', 197e12),
    ('TPU v5', 459e12),
    ('TPU v6 lite', 918e12),
    ('NVIDIA H100 80GB HBM3', 989e12),
    ('NVIDIA H100 PCIe', 756e12),
    ('NVIDIA A100-SXM4-80GB', 312e12),
    ('cpu', None),
    ('NVIDIA', None),
  ],
)
def test_the_peak_of_a_kind_of_device(kind, peak):
  assert peak_rate(kind) == peak


def test_what_is_said():
  known = Speed(2e12, 'TPU v4', 275e12)
  assert known.describe() == (
    'Operations of a step on each device, as in the papers: 2,000.000 billion; '
    'peak of a device: 275 TFLOP/s in bfloat16 (TPU v4).'
  )
  assert known.metrics(0.1) == {
    'teraflops_per_device': pytest.approx(20.0),
    'share_of_peak': pytest.approx(20.0 / 275.0),
  }
  assert Speed(None, 'TPU v4', 275e12).metrics(0.1) == {}
  assert 'unknown; peak' in Speed(None, 'TPU v4', 275e12).describe()
