"""Text as bytes: the Universal Declaration of Human Rights, 16 languages.

  python -m experiments.train --config=experiments/configs/declaration.py

Variants, on 2 CPU cores (seed 0):
  language: the language of held-out paragraphs (the default). 96.4 %, 2 min 49
    s; 96.9 % on one core. Naive Bayes on single bytes reaches 96.9 %.
  mlm: masked words of held-out text: 4.12 bits a masked byte, 15.9 % of them
    right, 8 min 37 s; 4.13 and 16.4 % on one core. Frequencies of bytes take
    4.77 bits and are right at 10.9 %, those of each language 4.43 and 12.4 %,
    those of its words' places and lengths 4.14 and 21.0 %.
"""

import ml_collections

_VOCAB_SIZE = 262  # Bytes and special tokens.


def get_config(variant: str = 'language') -> ml_collections.ConfigDict:
  """Returns the experiment.

  Args:
    variant: 'language' or 'mlm'.

  Raises:
    ValueError: there is no such variant.
  """
  if variant not in _VARIANTS:
    raise ValueError(f'The variants are {list(_VARIANTS)}, got {variant!r}.')
  config = ml_collections.ConfigDict()
  config.seed = 0
  config.log_every = 100
  config.data_workers = 0
  config.optimizer = dict(
    name='adamw', weight_decay=0.05, b2=0.95, clip_norm=1.0
  )
  _VARIANTS[variant](config)
  return config


def _language(config: ml_collections.ConfigDict) -> None:
  """A query for the language, as for a task of GLUE."""
  length, channels = 192, 64
  config.task = 'text_classification'
  config.batch_size = 64
  config.train_steps = 1200
  config.eval_every = 300
  config.checkpoint_every = 300
  config.data = dict(name='declaration', length=length, min_length=48)
  config.labels = dict(language=16)
  config.embedding = dict(
    vocab_size=_VOCAB_SIZE, num_channels=channels, max_length=length
  )
  config.encoder = dict(
    num_latents=32,
    latent_channels=64,
    cross_attends=(1,),
    self_attends_per_block=2,
    cross_attend_heads=4,
    self_attend_heads=4,
    rematerialize='none',
  )
  config.queries = dict(num_channels=channels)
  config.decoder = dict(num_heads=4, query_residual=False)
  config.schedule = dict(name='cosine', learning_rate=2e-3, warmup_steps=100)
  config.checkpoints = dict(
    keep_last=2, best_metric='eval/accuracy', best_mode='max'
  )


def _mlm(config: ml_collections.ConfigDict) -> None:
  """Masked words of crops, a query for each byte."""
  length, channels = 48, 128
  config.task = 'masked_language_modelling'
  config.batch_size = 32
  config.train_steps = 5000
  config.eval_every = 1000
  config.checkpoint_every = 1000
  config.data = dict(name='declaration', length=length, mask_rate=0.15)
  # All tables start at 0.1. Logits are products with the embeddings: of 0.5
  # they are noise that takes hundreds of steps to undo; and latents of 0.5
  # hide what is added to them when they attend. Steps of Adam are not in
  # proportion to what they change: positions of the usual 0.02 are lost in
  # what all of them learn together, before any is used.
  stddev = 0.1
  config.embedding = dict(
    vocab_size=_VOCAB_SIZE,
    num_channels=channels,
    max_length=length,
    init_stddev=stddev,
  )
  config.encoder = dict(
    num_latents=32,
    latent_channels=128,
    cross_attends=(1,),
    self_attends_per_block=2,
    cross_attend_heads=4,
    self_attend_heads=4,
    latents_init_stddev=stddev,
    rematerialize='none',
  )
  config.queries = dict(
    num_queries=length, num_channels=channels, init_stddev=stddev
  )
  config.decoder = dict(num_heads=4, query_residual=False)
  # Nothing is learned of masked words before outputs find their inputs.
  config.loss = dict(visible_weight=1.0)
  config.schedule = dict(name='cosine', learning_rate=2e-3, warmup_steps=100)
  config.checkpoints = dict(
    keep_last=2, best_metric='eval/loss', best_mode='min'
  )


_VARIANTS = {'language': _language, 'mlm': _mlm}
