"""Photographs for the tests of image pipelines."""

import pathlib

import numpy as np
import pytest

from experiments.modalities.images import augmentation

PHOTOGRAPHS = pathlib.Path(__file__).parent / 'photographs'


@pytest.fixture(scope='module')
def jpeg() -> bytes:
  return (PHOTOGRAPHS / 'china.jpg').read_bytes()


@pytest.fixture(scope='module')
def photograph(jpeg) -> np.ndarray:
  return augmentation.decode(jpeg, 'china.jpg')  # [214, 320, 3]
