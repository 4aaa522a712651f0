"""Entity encoder of StarCraft II with Perceiver IO.

  python -m experiments.describe --config=experiments/configs/starcraft.py

There is no agent and no data here; the model can be described.

Published (arXiv 2107.14795, section 4.5, appendix B, table 9): takes the place
of AlphaStar's Transformer over 512 entities, with 32 latents and 3 layers.
Their width is not stated, nor the training of the agent.
"""

import ml_collections

from perceiver_jax import published


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = ml_collections.ConfigDict()
  config.task = 'entity_encoding'
  config.seed = 0
  config.batch_size = 1024
  config.train_steps = 50_000
  config.log_every = 100
  config.eval_every = 1000
  config.checkpoint_every = 500
  config.data_workers = 16

  config.data = dict(name='starcraft', num_entities=512)
  config.update(published.STARCRAFT)
  config.encoder.rematerialize = 'elementwise'
  config.compute_dtype = 'bfloat16'
  config.optimizer = dict(name='lamb', weight_decay=0.1, clip_norm=10.0)
  config.schedule = dict(name='flat_then_cosine', learning_rate=2e-3, flat=0.5)
  config.checkpoints = dict(
    keep_last=2, best_metric='eval/loss', best_mode='min'
  )
  return config
