"""Masked language modelling with Perceiver IO.

  python -m experiments.train --config=experiments/configs/language.py \
    --data_dir=DATA
  ... --config=experiments/configs/language.py:plus

It needs the TFDS data sets c4/en and wikipedia/20230601.en in DATA, prepared as
array_record; training without them says how to. This code has not been trained
on them yet; declaration.py:mlm is the same task in minutes.

The published run (arXiv 2107.14795, section 4.1, appendix F, tables 1, 12):
70 % C4 and 30 % Wikipedia, ten documents concatenated before cropping, 15 % of
the words masked, 500,000 steps of 2,048 sequences, LAMB 1.25e-3 with 1,000
steps of warm-up and a cosine, weight decay 0.01. Which Wikipedia is not stated.

Variants, with the paper's average of GLUE after fine-tuning (glue.py):
  bytes: 2,048 UTF-8 bytes, 81.0 (the default).
  plus: bytes, wider and deeper ('IO++'), 81.8.
  sentencepiece: 512 tokens out of 32,000, 81.2. The vocabulary is not
    published, and there is no tokenizer for it here: the model can be described
    and imported, not trained.
"""

import ml_collections

from perceiver_jax import published

_MODELS = {
  'bytes': published.LANGUAGE,
  'plus': published.LANGUAGE_PLUS,
  'sentencepiece': published.LANGUAGE_SENTENCEPIECE,
}


def get_config(variant: str = 'bytes') -> ml_collections.ConfigDict:
  """Returns the experiment.

  Args:
    variant: 'bytes', 'plus' or 'sentencepiece'.

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
  config.compute_dtype = 'bfloat16'
  config.data = _data(variant, config.embedding.max_length)
  config.loss = dict(visible_weight=0.0)
  config.optimizer = dict(name='lamb', weight_decay=0.01)
  config.schedule = dict(
    name='cosine', learning_rate=1.25e-3, warmup_steps=1000
  )
  config.checkpoints = dict(
    keep_last=2, best_metric='eval/loss', best_mode='min'
  )
  return config


def _data(variant: str, length: int) -> dict:
  if variant == 'sentencepiece':
    return dict(name='masked_pieces', length=length)
  return dict(
    name='masked_text',
    length=length,
    mask_rate=0.15,
    c4='c4/en',
    wikipedia='wikipedia/20230601.en',
    wikipedia_share=0.3,
    documents=10,
    eval_examples=10_240,
  )
