"""C4 and Wikipedia as TFDS prepares them, small, as masked text."""

import collections
import pathlib
import pickle

import numpy as np
import pytest
import tensorflow_datasets as tfds

from experiments.configs import language as config_module
from experiments.data.dataset import batch_spec
from experiments.data.pipeline import evaluation_batches, train_batches
from experiments.datasets.masked_text import Concatenated, Mixture, masked_text
from experiments.tasks import make_task
from perceiver_jax.tokenizer import MASK, PAD, ByteTokenizer

TOKENIZER = ByteTokenizer()
OPTIONS = dict(
  length=48,
  mask_rate=0.15,
  c4='c4/en',
  wikipedia='wikipedia/20230601.en',
  wikipedia_share=0.3,
  documents=3,
  eval_examples=7,
)


class C4(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """The features and splits of TFDS's c4."""

  BUILDER_CONFIGS = (
    tfds.core.BuilderConfig(name='en', version=tfds.core.Version('3.1.0')),
  )
  SIZES = (('train', 64), ('validation', 15))
  FIELDS = ('text', 'url', 'content-type', 'content-length', 'timestamp')

  def _info(self):
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        {name: tfds.features.Text() for name in self.FIELDS}
      )
    )

  def _split_generators(self, dl_manager):
    return {
      split: self._generate_examples(split, size) for split, size in self.SIZES
    }

  def _generate_examples(self, split, size):
    for i in range(size):
      text = f'{type(self).__name__}-{split}-{i} ' + 'words ' * (i % 5 + 1)
      yield i, {**dict.fromkeys(self.FIELDS, 'x'), 'text': text}


class Wikipedia(C4, skip_registration=True):
  """The features and splits of TFDS's wikipedia."""

  BUILDER_CONFIGS = (
    tfds.core.BuilderConfig(
      name='20230601.en', version=tfds.core.Version('1.0.0')
    ),
  )
  SIZES = (('train', 30),)
  FIELDS = ('title', 'text')


def prepare(directory, *builders):
  for builder in builders:
    builder(
      data_dir=directory, file_format='array_record'
    ).download_and_prepare()


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory) -> str:
  directory = tmp_path_factory.mktemp('tfds')
  prepare(directory, C4, Wikipedia)
  return str(directory)


@pytest.fixture(scope='module')
def dataset(data_dir):
  return masked_text(data_dir, **OPTIONS).load()


def all_of(source):
  return [source[i] for i in range(len(source))]


def documents_of(source):
  """Names such as 'C4-train-3', of each example of a source."""
  return [
    [word for word in each['text'].decode().split() if '-' in word]
    for each in all_of(source)
  ]


# Concatenated documents.


def test_neighbours_are_concatenated_and_the_rest_left_out():
  class Documents(list):
    def __getitems__(self, indices):
      return [self[i] for i in indices]

  documents = Documents({'text': b'%d' % i} for i in range(10))
  source = Concatenated(documents, 1, 9, 3)
  assert all_of(source) == [{'text': b'1\n2\n3'}, {'text': b'4\n5\n6'}]


# The mixture.


def test_shares_hold_wherever_the_mixture_is_cut():
  mixture = Mixture(list('abcdefg'), list('XY'), 0.3, 1000)
  drawn = all_of(mixture)
  seconds = np.array([each in 'XY' for each in drawn])
  for start in range(0, 990, 10):
    assert seconds[start : start + 10].sum() == 3
  # Each source from its beginning, again and again.
  firsts = ''.join(np.array(drawn)[~seconds])
  assert firsts == 'abcdefg' * 100
  assert ''.join(np.array(drawn)[seconds]) == 'XY' * 150


def test_without_a_share_the_second_never_comes():
  assert all_of(Mixture([1, 2], [3], 0.0, 4)) == [1, 2, 1, 2]


# The data set.


def test_training_takes_all_of_c4_and_three_of_ten_of_wikipedia(dataset):
  # 21 texts of C4 make 70 %.
  assert len(dataset.train) == 30
  documents = documents_of(dataset.train)
  assert {len(each) for each in documents} == {3}
  corpora = [each[0].split('-')[0] for each in documents]
  assert collections.Counter(corpora) == {'C4': 21, 'Wikipedia': 9}
  web = [name for each in documents for name in each if name.startswith('C4')]
  assert len(set(web)) == len(web) == 63


def test_what_is_held_out_never_trains(dataset):
  assert len(dataset.evaluation) == 7
  train = {name for each in documents_of(dataset.train) for name in each}
  held_out = [
    name for each in documents_of(dataset.evaluation) for name in each
  ]
  assert not train & set(held_out)
  assert collections.Counter(name.rsplit('-', 1)[0] for name in held_out) == {
    'C4-validation': 15,
    'Wikipedia-train': 6,
  }


def test_examples_are_masked_crops(dataset):
  raw = dataset.train[0]
  examples = [
    dataset.augment(raw, np.random.default_rng(seed)) for seed in range(20)
  ]
  texts = {TOKENIZER.decode(each['targets']) for each in examples}
  assert len(texts) > 5
  assert all(text in raw['text'].decode() for text in texts)
  for each in examples:
    assert each['mask'].all() and len(each['tokens']) == 48
    masked = each['target_weights'] == 1.0
    assert masked.any() and (each['tokens'][masked] == MASK).all()
    assert (each['targets'] != PAD).all()


def test_evaluations_are_of_the_same_bytes(dataset):
  one, two = (list(evaluation_batches(dataset, 4)) for _ in range(2))
  for a, b in zip(one, two, strict=True):
    for key, values in a.items():
      np.testing.assert_array_equal(values, b[key])
  assert sum(batch['weight'].sum() for batch in one) == 7


def test_the_stream_follows_from_seed_and_position(dataset):
  def batches(seed, position, count):
    stream = train_batches(dataset, 4, seed=seed, position=position)
    return np.concatenate([next(stream)['tokens'] for _ in range(count)])

  whole = batches(0, 0, 12)  # More than one pass.
  np.testing.assert_array_equal(whole[36:], batches(0, 36, 3))
  assert not np.array_equal(whole[:4], batches(1, 0, 1))


def test_sources_can_be_sent_to_workers(dataset):
  copied = pickle.loads(pickle.dumps(dataset.train))
  assert copied[3] == dataset.train[3]


def test_examples_are_as_specified(data_dir, dataset):
  spec = masked_text(data_dir, **OPTIONS)
  batch = next(train_batches(dataset, 2, seed=0, position=0))
  del batch['weight']
  expected = batch_spec(spec.example, 2)
  assert {key: (x.shape, x.dtype) for key, x in batch.items()} == {
    key: (x.shape, x.dtype) for key, x in expected.items()
  }


# Mistakes.


@pytest.mark.parametrize(
  ('key', 'value'),
  [
    ('mask_rate', 0.0),
    ('wikipedia_share', 1.0),
    ('documents', 0),
    ('eval_examples', 0),
  ],
)
def test_wrong_values_are_an_error(key, value):
  with pytest.raises(ValueError, match=rf'data\.{key}'):
    masked_text(None, **{**OPTIONS, key: value})


def test_too_few_documents_are_an_error(data_dir):
  with pytest.raises(ValueError, match=r'wikipedia.*30 documents.*need 33'):
    masked_text(data_dir, **{**OPTIONS, 'eval_examples': 33}).load()
  with pytest.raises(ValueError, match=r"c4/en.*'validation'.*need 16"):
    masked_text(data_dir, **{**OPTIONS, 'documents': 16}).load()


def test_not_prepared_says_how(tmp_path):
  prepare(tmp_path, C4)
  with pytest.raises(FileNotFoundError) as raised:
    masked_text(str(tmp_path), **OPTIONS).load()
  message = str(raised.value)
  assert 'wikipedia/20230601.en is not prepared' in message
  assert (
    'tfds build wikipedia/20230601.en --file_format=array_record '
    f'--data_dir={tmp_path}'
  ) in message
  assert 'declaration.py:mlm trains without any download' in message


def test_a_missing_split_is_named(tmp_path):
  prepare(tmp_path, C4, Wikipedia)
  info = pathlib.Path(tmp_path) / 'c4/en/3.1.0/dataset_info.json'
  info.write_text(info.read_text().replace('"validation"', '"other"'))
  with pytest.raises(FileNotFoundError, match="no split 'validation'"):
    masked_text(str(tmp_path), **OPTIONS).load()


# The config.


@pytest.mark.parametrize('variant', ['bytes', 'plus'])
def test_the_published_mixture(variant):
  config = config_module.get_config(variant)
  section = dict(config.data)
  assert section.pop('name') == 'masked_text'
  assert section == {
    **OPTIONS,
    'length': 2048,
    'documents': 10,
    'eval_examples': 10_240,
  }
  task = make_task(config, None)
  assert task.loss_function is not None
  assert task.data.example['tokens'].shape == (2048,)


def test_pieces_of_words_can_only_be_described():
  config = config_module.get_config('sentencepiece')
  with pytest.raises(ValueError, match=r"no input pipeline.*'masked_pieces'"):
    make_task(config, None).data.load()
