"""GLUE with Perceiver IO: all eight tasks at once, a query for each.

  python -m experiments.describe --config=experiments/configs/glue.py

There is no input pipeline for GLUE here yet; the model can be described.

The published run (arXiv 2107.14795, section 4.1, appendix F.4, tables 2, 13):
the masked language model on bytes, fine-tuned for 10 epochs in batches of 16 to
64, LAMB 1e-5 to 1e-4 with 200 steps of warm-up, weight decay 0.01; 81.8 with a
query for each task. One task is `--config.labels`'s only entry.
"""

import ml_collections

from perceiver_jax import published

_TRAIN_EXAMPLES = 949_098  # Of the eight tasks together.
_BATCH_SIZE = 32


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  steps_per_epoch = _TRAIN_EXAMPLES // _BATCH_SIZE
  config = ml_collections.ConfigDict()
  config.task = 'text_classification'
  config.seed = 0
  config.batch_size = _BATCH_SIZE
  config.train_steps = 10 * steps_per_epoch
  config.log_every = 100
  config.eval_every = steps_per_epoch
  config.checkpoint_every = 1000
  config.data_workers = 16

  config.update(published.GLUE)
  config.encoder.rematerialize = 'elementwise'
  config.labels = dict(published.GLUE_TASKS)
  config.data = dict(name='glue', length=config.embedding.max_length)
  config.optimizer = dict(name='lamb', weight_decay=0.01)
  config.schedule = dict(name='constant', learning_rate=5e-5, warmup_steps=200)
  config.checkpoints = dict(
    keep_last=2, best_metric='eval/loss', best_mode='min'
  )
  return config
