"""ModelNet40 classification with the Perceiver of the first paper.

  python -m experiments.train --config=experiments/configs/modelnet40.py \
    --data_dir=DATA

It needs https://modelnet.cs.princeton.edu/ModelNet40.zip in
DATA/downloads/manual. This code has not been trained on it yet.

The published run (arXiv 2103.03206, section 4.3, table 4): about 2,000 points,
2 cross-attends each followed by 6 layers, 64 bands up to a frequency of 1120,
LAMB with a constant 1e-3, batches of 512, 50,000 steps; 85.7 % top-1. Of each
model 2,048 points are taken here, each scaled by a factor between 0.99 and 1.01
before all are centred and scaled to the unit cube. Whether parameters are
shared is not stated, and taken as on ImageNet.
"""

import ml_collections

from perceiver_jax import published


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = ml_collections.ConfigDict()
  config.task = 'classification'
  config.seed = 0
  config.batch_size = 512
  config.train_steps = 50_000
  config.log_every = 100
  config.eval_every = 1000
  config.checkpoint_every = 500
  config.data_workers = 16

  config.data = dict(name='modelnet40', num_points=2048, max_point_scale=0.01)
  config.update(published.MODELNET40)
  config.encoder.rematerialize = 'elementwise'
  config.compute_dtype = 'bfloat16'
  config.loss = dict(name='softmax', label_smoothing=0.0)
  config.optimizer = dict(name='lamb', weight_decay=0.1, clip_norm=10.0)
  config.schedule = dict(name='constant', learning_rate=1e-3)
  config.checkpoints = dict(
    keep_last=2, best_metric='eval/accuracy', best_mode='max'
  )
  return config
