"""The loss of optical flow, and its metrics."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax

from experiments.stepping.train_state import Batch, Metrics
from perceiver_jax.metrics import Mean

# An outlier of KITTI is wrong by more than 3 pixels and 5 % of the motion.
_OUTLIER_PIXELS, _OUTLIER_SHARE = 3.0, 0.05


def flow_loss(
  predictions: jax.Array, batch: Batch
) -> tuple[Sequence[Mean], Metrics]:
  """Returns the end-point error, and metrics of flow.

  All are means over the pixels whose flow is known, of all images together:
  `loss` and `end_point_error` in pixels; `outliers`, the share of them (KITTI's
  Fl: more than 3 pixels and 5 % off); `relative_error`, the end-point error as
  a share of that of predicting no motion.

  Args:
    predictions: `[B, H, W, 2]`, in pixels.
    batch: with `flow` `[B, H, W, 2]`, `valid` `[B, H, W]` of 0 and 1, and
      `weight` `[B]`.
  """
  weights = batch['valid'] * batch['weight'][:, None, None]
  # A plain norm has no gradient where the error is zero.
  errors = optax.safe_norm(predictions - batch['flow'], 1e-6, axis=-1)
  motion = jnp.linalg.norm(batch['flow'], axis=-1)
  outliers = (errors > _OUTLIER_PIXELS) & (errors > _OUTLIER_SHARE * motion)
  total, weight = (weights * errors).sum(), weights.sum()
  metrics = {
    'loss': Mean(total, weight),
    'end_point_error': Mean(total, weight),
    'outliers': Mean((weights * outliers).sum(), weight),
    'relative_error': Mean(total, (weights * motion).sum()),
  }
  return [metrics['loss']], metrics
