"""Trains a small `AnyToAny` of one input and one answer of a column."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax

from perceiver_jax.decoder import Decoder
from perceiver_jax.encoder import Encoder
from perceiver_jax.models import AnyToAny, Output
from perceiver_jax.multimodal import Multimodal


def learned(
  head, preprocessor, batch_of, *, steps, learning_rate=3e-3, latents=8, seed=0
):
  """Returns what maps inputs to the outputs of a model that was trained.

  Args:
    head: the answer.
    preprocessor: makes that of the input `x`.
    batch_of: random generator to inputs, `x` and its mask `[B]` or `[B, M]`,
      and target arrays.
    steps: of Adam.
    learning_rate: at its highest.
    latents: of the encoder.
    seed: of all that is random.
  """

  def forward(x, mask):
    model = AnyToAny(
      preprocessor=Multimodal(
        preprocessors={'x': preprocessor()}, min_padding=1
      ),
      encoder=Encoder(
        num_latents=latents,
        latent_channels=32,
        cross_attends=(1,),
        self_attends_per_block=1,
        self_attend_heads=2,
        cross_attend_qk_channels=32,
      ),
      outputs={'y': Output(head.channels, head.num_queries, 'x')},
      query_channels=32,
      decoder=Decoder(output_channels=None, query_residual=True),
    )
    return model({'x': x}, is_training=False, masks={'x': mask})['y']

  model = hk.without_apply_rng(hk.transform(forward))
  rng = np.random.default_rng(seed)
  x, mask, _ = batch_of(rng)
  params = model.init(jax.random.key(seed), x, mask)
  rates = optax.warmup_cosine_decay_schedule(0.0, learning_rate, 10, steps)
  optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rates))

  @jax.jit
  def step(params, state, x, mask, target):
    def mean_loss(params):
      return jnp.mean(head.loss(model.apply(params, x, mask), target))

    loss, gradients = jax.value_and_grad(mean_loss)(params)
    updates, state = optimizer.update(gradients, state)
    return optax.apply_updates(params, updates), state, loss

  state = optimizer.init(params)
  for _ in range(steps):
    params, state, loss = step(params, state, *batch_of(rng))
  assert np.isfinite(loss)
  return lambda x, mask: np.asarray(jax.jit(model.apply)(params, x, mask))
