"""GLUE as TFDS prepares it, small: reading, loss, scores, fine-tuning."""

import pathlib
import sys

import jax
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
import tensorflow_datasets as tfds

from experiments.answers.judgements import scores as part_scores
from experiments.answers.judgements.loss import collect, glue_loss
from experiments.configs import glue as config_module
from experiments.configs import language as language_config
from experiments.data.dataset import batch_spec
from experiments.data.pipeline import train_batches
from experiments.datasets.glue import PARTS, TASKS, glue
from experiments.runs.parameter_paths import is_below
from experiments.stepping.train_state import init_shapes
from experiments.tasks import make_task
from perceiver_jax import metrics
from perceiver_jax.metrics import sum_of_means
from perceiver_jax.published import GLUE_TASKS
from perceiver_jax.tokenizer import SEP, ByteTokenizer

TOKENIZER = ByteTokenizer()
RNG = np.random.default_rng(0)
CLASSES = {
  'cola': ('unacceptable', 'acceptable'),
  'mnli': ('entailment', 'neutral', 'contradiction'),
  'mrpc': ('not_equivalent', 'equivalent'),
  'qnli': ('entailment', 'not_entailment'),
  'qqp': ('not_duplicate', 'duplicate'),
  'rte': ('entailment', 'not_entailment'),
  'sst2': ('negative', 'positive'),
}
TEXTS = {
  'cola': ('sentence',),
  'mnli': ('premise', 'hypothesis'),
  'mrpc': ('sentence1', 'sentence2'),
  'qnli': ('question', 'sentence'),
  'qqp': ('question1', 'question2'),
  'rte': ('sentence1', 'sentence2'),
  'sst2': ('sentence',),
  'stsb': ('sentence1', 'sentence2'),
}
# Training examples of each task.
SIZES = dict(zip(TASKS, (3, 20, 2, 8, 12, 1, 6, 4), strict=True))


class Glue(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """The features and splits of TFDS's glue, a few examples each."""

  BUILDER_CONFIGS = tuple(
    tfds.core.BuilderConfig(name=task, version=tfds.core.Version('2.0.0'))
    for task in TASKS
  )

  def _info(self):
    task = self.builder_config.name
    label = (
      np.float32
      if task == 'stsb'
      else tfds.features.ClassLabel(names=CLASSES[task])
    )
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        {
          **{name: tfds.features.Text() for name in TEXTS[task]},
          'label': label,
          'idx': np.int32,
        }
      )
    )

  def _split_generators(self, dl_manager):
    task = self.builder_config.name
    held_out = (
      ('validation_matched', 'validation_mismatched')
      if task == 'mnli'
      else ('validation',)
    )
    return {
      'train': self._generate_examples('train', SIZES[task]),
      **{split: self._generate_examples(split, 5) for split in held_out},
    }

  def _generate_examples(self, split, size):
    task = self.builder_config.name
    for i in range(size):
      label = i * 0.8 if task == 'stsb' else i % len(CLASSES[task])
      texts = {name: f'{task} {split} {name} {i}' for name in TEXTS[task]}
      yield i, {**texts, 'label': label, 'idx': i}


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory) -> str:
  directory = tmp_path_factory.mktemp('tfds')
  for task in TASKS:
    Glue(
      config=task, data_dir=directory, file_format='array_record'
    ).download_and_prepare()
  return str(directory)


def all_of(source):
  return [source[i] for i in range(len(source))]


def text_of(example):
  return TOKENIZER.decode(
    np.where(example['tokens'] == SEP, ord('|') + 6, example['tokens'])
  )


# Data.


def test_all_tasks_together_each_example_once(data_dir):
  dataset = glue(data_dir, length=64, tasks=TASKS).load()
  assert len(dataset.train) == sum(SIZES.values())
  examples = [dataset.augment(raw, RNG) for raw in all_of(dataset.train)]
  counts = np.bincount([each['part'] for each in examples], minlength=9)
  assert dict(zip(PARTS, counts, strict=True)) == {
    **SIZES,
    'mnli_mismatched': 0,
  }
  texts = [text_of(each) for each in examples]
  assert len(set(texts)) == len(texts)
  for text, each in zip(texts, examples, strict=True):
    task = PARTS[each['part']]
    assert text.startswith(f'{task} train')
    number = int(text.split()[-1])
    expected = number * 0.8 if task == 'stsb' else number % len(CLASSES[task])
    assert each['label'] == pytest.approx(expected)
  assert 'tensorflow' not in sys.modules


def test_two_sentences_are_joined_by_a_separator(data_dir):
  dataset = glue(data_dir, length=64, tasks=('qnli', 'sst2')).load()
  texts = {text_of(dataset.prepare(raw)) for raw in all_of(dataset.evaluation)}
  assert 'qnli validation question 3|qnli validation sentence 3' in texts
  assert 'sst2 validation sentence 0' in texts
  assert len(texts) == 10


def test_mnli_is_held_out_in_two_parts(data_dir):
  dataset = glue(data_dir, length=64, tasks=('mnli',)).load()
  examples = [dataset.prepare(raw) for raw in all_of(dataset.evaluation)]
  parts = [PARTS[each['part']] for each in examples]
  assert parts == ['mnli'] * 5 + ['mnli_mismatched'] * 5
  for part, each in zip(parts, examples, strict=True):
    assert ('mismatched' in text_of(each)) == (part == 'mnli_mismatched')


def test_examples_are_as_specified_and_train_in_batches(data_dir):
  spec = glue(data_dir, length=32, tasks=TASKS)
  batch = next(train_batches(spec.load(), 8, seed=0, position=0))
  assert batch.pop('weight').tolist() == [1.0] * 8
  expected = batch_spec(spec.example, 8)
  assert {key: (x.shape, x.dtype) for key, x in batch.items()} == {
    key: (x.shape, x.dtype) for key, x in expected.items()
  }


@pytest.mark.parametrize('tasks', [(), ('cola', 'wnli'), ('rte', 'rte')])
def test_wrong_tasks_are_an_error(tasks):
  with pytest.raises(ValueError, match=r'data\.tasks'):
    glue(None, length=64, tasks=tasks)


def test_not_prepared_says_how(tmp_path):
  with pytest.raises(FileNotFoundError) as raised:
    glue(str(tmp_path), length=64, tasks=('rte',)).load()
  message = str(raised.value)
  assert 'glue/rte:2.*.* is not prepared' in message
  assert (
    f'tfds build glue/$task --file_format=array_record --data_dir={tmp_path}'
    in message
  )
  assert 'experiments/configs/declaration.py trains without' in message


def test_a_missing_file_is_named(tmp_path):
  Glue(
    config='rte', data_dir=tmp_path, file_format='array_record'
  ).download_and_prepare()
  (missing,) = pathlib.Path(tmp_path).glob('glue/rte/2.0.0/*-train.*')
  missing.unlink()
  with pytest.raises(FileNotFoundError, match=missing.name) as raised:
    glue(str(tmp_path), length=64, tasks=('rte',)).load()
  assert f'--data_dir={tmp_path}\n' in str(raised.value)


# Loss.


def batch_of(parts, labels, weights):
  return {
    'part': np.array([PARTS.index(part) for part in parts], np.int32),
    'label': np.array(labels, np.float32),
    'weight': np.array(weights, np.float32),
  }


PREDICTIONS = {
  'mnli': np.log(
    np.array([[1, 1, 2], [1, 2, 1], [9, 1, 1], [1, 1, 1], [1, 1, 1]])
  ).astype(np.float32),
  'stsb': np.array([[9.0], [9.0], [2.5], [4.0], [0.0]], np.float32),
}
BATCH = batch_of(
  ['mnli', 'mnli_mismatched', 'stsb', 'stsb', 'stsb'],
  [2, 0, 3.0, 2.0, 5.0],
  [1, 1, 1, 1, 0],
)


def test_each_example_counts_in_its_own_task():
  loss, pairs = jax.jit(glue_loss)(PREDICTIONS, BATCH)
  entropies, squares = [np.log(2), np.log(4)], [0.25, 4.0]
  total = sum(entropies) + sum(squares)
  values = metrics.compute([pairs])
  assert values == pytest.approx(
    {
      'loss': total / 4,
      'mnli_loss': np.mean(entropies),
      'stsb_loss': np.mean(squares),
    },
    rel=1e-6,
  )
  np.testing.assert_allclose(sum_of_means(loss), total / 4, rtol=1e-6)


def test_an_example_gives_no_gradient_to_other_tasks():
  gradients = jax.jit(
    jax.grad(lambda predictions: sum_of_means(glue_loss(predictions, BATCH)[0]))
  )(PREDICTIONS)
  assert np.abs(gradients['mnli']).sum(axis=1).astype(bool).tolist() == [
    True, True, False, False, False,
  ]  # fmt: skip
  assert np.abs(gradients['stsb'])[:, 0].astype(bool).tolist() == [
    False, False, True, True, False,
  ]  # fmt: skip


def test_what_is_kept_of_an_example():
  kept = jax.jit(collect)(PREDICTIONS, BATCH)
  assert kept['prediction'].tolist() == [2.0, 1.0, 2.5, 4.0, 0.0]
  assert kept['label'].tolist() == BATCH['label'].tolist()
  assert kept['part'].tolist() == BATCH['part'].tolist()


# Scores.


@pytest.mark.parametrize('seed', range(5))
def test_metrics_of_classes_are_those_of_scikit_learn(seed):
  rng = np.random.default_rng(seed)
  labels, predictions = rng.integers(2, size=(2, 41))
  predictions = np.where(rng.random(41) < 0.5, labels, predictions)
  for ours, theirs in (
    (part_scores.accuracy, sklearn.metrics.accuracy_score),
    (part_scores.f1, sklearn.metrics.f1_score),
    (part_scores.matthews, sklearn.metrics.matthews_corrcoef),
  ):
    assert ours(predictions, labels) == pytest.approx(
      theirs(labels, predictions), abs=1e-12
    )


@pytest.mark.parametrize('seed', range(5))
def test_correlations_are_those_of_scipy_with_ties(seed):
  rng = np.random.default_rng(seed)
  labels = rng.integers(6, size=37).astype(np.float32)
  predictions = (labels + rng.normal(size=37)).astype(np.float32).round(1)
  assert len(set(predictions)) < 37
  assert part_scores.pearson(predictions, labels) == pytest.approx(
    scipy.stats.pearsonr(predictions.astype(float), labels.astype(float))[0],
    abs=1e-12,
  )
  assert part_scores.spearman(predictions, labels) == pytest.approx(
    scipy.stats.spearmanr(predictions, labels)[0], abs=1e-12
  )


def test_nothing_found_and_constant_predictions_are_zero():
  labels, none = np.array([0, 1, 1, 0]), np.zeros(4)
  assert part_scores.matthews(none, labels) == 0.0
  assert part_scores.f1(none, none) == 0.0
  assert part_scores.spearman(np.full(4, 2.5), labels) == 0.0


def test_the_score_is_the_papers_average():
  # Every part has a share of right answers of its own.
  shares = {part: 0.5 + 0.05 * i for i, part in enumerate(PARTS)}
  examples = {'part': [], 'label': [], 'prediction': []}
  for number, part in enumerate(PARTS):
    labels = np.arange(100) % 2
    right = np.arange(100) < round(100 * shares[part])
    predictions = np.where(right, labels, 1 - labels)
    examples['part'].append(np.full(100, number))
    examples['label'].append(labels)
    examples['prediction'].append(predictions)
  examples = {key: np.concatenate(x) for key, x in examples.items()}
  scores = part_scores.glue_scores(examples)
  for part in set(PARTS) - {'cola', 'stsb'}:
    assert scores[f'{part}_accuracy'] == pytest.approx(shares[part])
  mnli = (shares['mnli'] + shares['mnli_mismatched']) / 2
  accuracies = [shares[task] for task in ('mrpc', 'qnli', 'qqp', 'rte', 'sst2')]
  correlations = [scores['cola_matthews'], scores['stsb_pearson']]
  assert scores['score'] == pytest.approx(
    np.mean([mnli, *accuracies, *correlations])
  )
  assert set(scores) == set(part_scores.score_names(TASKS))


def test_one_task_alone_is_its_own_score():
  examples = {
    'part': np.full(4, PARTS.index('mrpc')),
    'label': np.array([1.0, 1.0, 0.0, 1.0]),
    'prediction': np.array([1.0, 0.0, 0.0, 1.0]),
  }
  scores = part_scores.glue_scores(examples)
  assert scores == pytest.approx(
    {'score': 0.75, 'mrpc_accuracy': 0.75, 'mrpc_f1': 0.8}
  )
  assert set(scores) == set(part_scores.score_names(['mrpc']))


# The config.


@pytest.mark.parametrize('variant', ['multitask', 'rte', 'stsb'])
def test_configs_have_a_query_and_a_head_for_each_task(variant):
  config = config_module.get_config(variant)
  task = make_task(config, None)
  tasks = TASKS if variant == 'multitask' else (variant,)
  batch = batch_spec(task.data.example, 2)

  def apply(batch):
    key = jax.random.key(0)
    params, state = task.model.init(key, batch, is_training=True)
    return task.model.apply(params, state, key, batch, is_training=True)[0]

  outputs = jax.eval_shape(apply, batch)
  assert {name: x.shape for name, x in outputs.items()} == {
    name: (2, GLUE_TASKS[name]) for name in tasks
  }
  assert config.checkpoints.best_metric == 'eval/score'
  assert 'score' in task.dataset_metrics.names


def parameters(config):
  task = make_task(config, None)
  params, state = init_shapes(task.model, batch_spec(task.data.example, 1))
  assert not state
  return {
    (module, name): leaf.shape
    for module, leaves in params.items()
    for name, leaf in leaves.items()
    if not is_below(config_module.get_config().finetuning.skip, module, name)
  }


def test_all_but_queries_and_heads_are_of_the_language_model():
  ours = parameters(config_module.get_config())
  assert ours == parameters(language_config.get_config('bytes'))
  assert sum(map(np.prod, ours.values())) > 199_000_000


def test_ten_epochs_of_the_published_sizes():
  assert config_module.get_config('rte').train_steps == 10 * (2490 // 32)
  assert config_module.get_config().train_steps == 10 * (949_098 // 32)


def test_an_unknown_variant_is_an_error():
  with pytest.raises(ValueError, match=r"'multitask', 'cola'.*'wnli'"):
    config_module.get_config('wnli')
