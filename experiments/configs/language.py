"""Masked language modelling with Perceiver IO.

  python -m experiments.describe --config=experiments/configs/language.py

There is no input pipeline for this here yet; the models can be described, and
the released weights of 'bytes' imported.

The published run (arXiv 2107.14795, section 4.1, appendix F, tables 1, 12): C4
and Wikipedia, 15 % of the words masked, 500,000 steps of 2,048 sequences, LAMB
1.25e-3 with 1,000 steps of warm-up and a cosine, weight decay 0.01.

Variants, with the paper's average of GLUE after fine-tuning:
  bytes: 2,048 UTF-8 bytes, 81.0 (the default).
  sentencepiece: 512 tokens out of 32,000, 81.2.
  plus: bytes, wider and deeper ('IO++'), 81.8.
"""

import ml_collections

from perceiver_jax import published

_MODELS = {
  'bytes': published.LANGUAGE,
  'sentencepiece': published.LANGUAGE_SENTENCEPIECE,
  'plus': published.LANGUAGE_PLUS,
}


def get_config(variant: str = 'bytes') -> ml_collections.ConfigDict:
  """Returns the experiment.

  Args:
    variant: 'bytes', 'sentencepiece' or 'plus'.

  Raises:
    ValueError: there is no such variant.
  """
  if variant not in _MODELS:
    raise ValueError(f'The variants are {list(_MODELS)}, got {variant!r}.')
  config = ml_collections.ConfigDict()
  config.task = 'masked_language_modelling'
  config.seed = 0
  config.batch_size = 2048
  config.train_steps = 500_000
  config.log_every = 100
  config.eval_every = 5000
  config.checkpoint_every = 1000
  config.data_workers = 16

  config.update(_MODELS[variant])
  config.encoder.rematerialize = 'elementwise'
  config.data = dict(name='masked_text', length=config.embedding.max_length)
  config.loss = dict(visible_weight=0.0)
  config.optimizer = dict(name='lamb', weight_decay=0.01)
  config.schedule = dict(
    name='cosine', learning_rate=1.25e-3, warmup_steps=1000
  )
  config.checkpoints = dict(
    keep_last=2, best_metric='eval/loss', best_mode='min'
  )
  return config
