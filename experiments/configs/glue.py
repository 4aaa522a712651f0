"""GLUE with Perceiver IO on bytes, from a masked language model.

  python -m experiments.train --config=experiments/configs/glue.py \
    --config.finetuning.workdir=runs/language --data_dir=DATA
  ... --config=experiments/configs/glue.py:mrpc

`finetuning.workdir` is a run of language.py, trained or imported (README,
'Published weights'). GLUE is prepared once as array_record; training without it
says how to. This code has not been trained on it yet.

The published run (arXiv 2107.14795, section 4.1, appendix F.4, tables 2, 13,
14): 10 epochs, batches of 16, 32 or 64, LAMB with 1e-5, 2e-5, 5e-5 or 1e-4
after 200 steps of warm-up, weight decay 0.01, the best of these on the
development set. `eval/score` is the paper's average: Matthews' correlation for
CoLA, Pearson's for STS-B, accuracy for the others, the two parts of MNLI
counting as one task. WNLI is left out.

Variants, with the paper's number:
  multitask: all eight at once, a query for each, 81.8 (the default). In what
    shares is not stated; here each example counts the same.
  cola 50.19, mnli 83.22 / 83.89, mrpc 87.24, qnli 91.71, qqp 90.12, rte 64.84,
    sst2 93.17, stsb 86.81: one task alone; their mean is 81.0.

Not stated either: how two sentences are joined (here by the token [SEP], and no
[CLS] before), the loss of STS-B (here the squared error of its scores, 0 to 5),
and whether the decoder starts from the masked language model's (here it does;
its queries and the heads start anew).
"""

import ml_collections

from perceiver_jax import published

_TRAIN_EXAMPLES = {
  'cola': 8551,
  'mnli': 392_702,
  'mrpc': 3668,
  'qnli': 104_743,
  'qqp': 363_846,
  'rte': 2490,
  'sst2': 67_349,
  'stsb': 5749,
}
_EPOCHS = 10
_BATCH_SIZE = 32


def get_config(variant: str = 'multitask') -> ml_collections.ConfigDict:
  """Returns the experiment.

  Args:
    variant: 'multitask' or a task.

  Raises:
    ValueError: there is no such variant.
  """
  variants = ('multitask', *_TRAIN_EXAMPLES)
  if variant not in variants:
    raise ValueError(f'The variants are {list(variants)}, got {variant!r}.')
  tasks = tuple(_TRAIN_EXAMPLES) if variant == 'multitask' else (variant,)
  steps_per_epoch = sum(_TRAIN_EXAMPLES[task] for task in tasks) // _BATCH_SIZE
  config = ml_collections.ConfigDict()
  config.task = 'glue'
  config.seed = 0
  config.batch_size = _BATCH_SIZE
  config.train_steps = _EPOCHS * steps_per_epoch
  config.log_every = 100
  config.eval_every = steps_per_epoch
  config.checkpoint_every = 1000
  config.data_workers = 16

  config.update(published.GLUE)
  config.encoder.rematerialize = 'elementwise'
  config.data = dict(
    name='glue', length=config.embedding.max_length, tasks=tasks
  )
  config.finetuning = dict(
    workdir='runs/language',
    checkpoint='best',
    # What only one of the models has, and the queries: of bytes, of tasks.
    skip=('masked_language_model', 'text_classifier', 'learned_queries'),
  )
  config.optimizer = dict(name='lamb', weight_decay=0.01)
  config.schedule = dict(name='constant', learning_rate=5e-5, warmup_steps=200)
  config.checkpoints = dict(
    keep_last=2, best_metric='eval/score', best_mode='max'
  )
  return config
