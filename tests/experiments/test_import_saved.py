"""Folders of `save_pretrained` in, runs out: one path, no config."""

import jax
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from experiments.configs import imagenet_io
from experiments.host.configuration import read_config
from experiments.import_weights import import_weights
from experiments.runs.experiment import open_checkpoints
from experiments.tasks import make_task
from tests.golden import saved_models
from tests.golden.parity import relative_difference


def predictions_of(workdir, batch):
  """What the run in a folder predicts, known from the folder alone."""
  config = read_config(workdir)
  checkpoints = open_checkpoints(config, workdir)
  params, state = checkpoints.restore_model(checkpoints.latest_step())
  checkpoints.close()
  model = make_task(config, None).model
  predictions, _ = jax.jit(model.apply, static_argnames='is_training')(
    params, state, None, batch, is_training=False
  )
  return predictions


FAST = ('masked_lm', 'text_classification')


@pytest.mark.parametrize(
  'name',
  [
    *FAST,
    *(
      pytest.param(name, marks=pytest.mark.slow)
      for name in saved_models.NAMES
      if name not in FAST
    ),
  ],
)
def test_a_run_computes_what_the_saved_model_does(name, tmp_path):
  saved = saved_models.load(name)
  source = saved_models.write(saved, tmp_path / 'saved')
  import_weights(None, source, tmp_path / 'run')
  batch = saved_models.batch_of(name, saved.inputs)
  predictions = predictions_of(tmp_path / 'run', batch)
  expected = saved_models.expected_of(name, saved)
  if not isinstance(predictions, dict):
    predictions = dict.fromkeys(expected, predictions)
  assert set(predictions) == set(expected)
  for output, values in expected.items():
    ours = np.asarray(predictions[output])
    assert relative_difference(ours, values) < 1e-5, output


def imported(source, workdir, config=None):
  """Imports; returns the parameters of the run."""
  import_weights(config, source, workdir)
  checkpoints = open_checkpoints(read_config(workdir), workdir)
  params, _ = checkpoints.restore_model(0)
  checkpoints.close()
  return params


def test_several_files_are_one_model(tmp_path):
  saved = saved_models.load('text_classification')
  whole = saved_models.write(saved, tmp_path / 'whole')
  parts = saved_models.write(saved, tmp_path / 'parts', shards=3)
  expected = imported(whole, tmp_path / 'run')
  index = parts / 'model.safetensors.index.json'
  for i, source in enumerate((parts, index)):
    params = imported(source, tmp_path / f'run_{i}')
    jax.tree.map(np.testing.assert_array_equal, params, expected)
  (parts / 'model-00002-of-00003.safetensors').unlink()
  with pytest.raises(FileNotFoundError, match=r'no model-00002.*all 3 files'):
    import_weights(None, parts, tmp_path / 'again')
  index.write_text('{"weight_map": {"x": "../../etc/passwd"}}')
  with pytest.raises(ValueError, match=r'passwd.*not beside it'):
    import_weights(None, parts, tmp_path / 'again')


def test_weights_of_bfloat16_become_the_same_numbers(tmp_path):
  saved = saved_models.load('text_classification')
  weights = {k: x.astype(ml_dtypes.bfloat16) for k, x in saved.weights.items()}
  source = saved_models.write(saved, tmp_path / 'saved')
  safetensors.numpy.save_file(weights, source / 'model.safetensors')
  params = imported(source, tmp_path / 'run')
  latents = params['encoder']['latents']
  assert latents.dtype == np.float32
  np.testing.assert_array_equal(
    latents, weights['perceiver.embeddings.latents'].astype(np.float32)
  )


def test_the_config_says_what_weights_do_not(tmp_path, capsys):
  saved = saved_models.load('masked_lm')
  source = saved_models.write(saved, tmp_path / 'saved')
  import_weights(None, source, tmp_path / 'run')
  encoder = read_config(tmp_path / 'run').encoder
  assert (encoder.self_attend_heads, encoder.cross_attend_heads) == (5, 3)
  assert encoder.approximate_gelu
  assert not encoder.query_residual
  assert 'dropout_rate' not in encoder
  assert 'attention_probs_dropout_prob = 0.1' in capsys.readouterr().out


def image_config(saved):
  """A config of the right sizes and of other heads."""
  config = imagenet_io.get_config()
  config.encoder.update(num_latents=5, latent_channels=15, self_attend_heads=3)
  config.encoder.update(self_attends_per_block=2, cross_attends=(1, 0, 0))
  config.queries.num_channels = 15
  config.encoder.cross_attend_qk_channels = 15
  config.data = dict(
    name='labelled_images',
    image_size=9,
    classes=tuple(saved.config['id2label'].values()),
  )
  return config


def test_a_config_is_set_to_what_lies_beside_the_weights(tmp_path, capsys):
  saved = saved_models.load('image_fourier')
  source = saved_models.write(saved, tmp_path / 'saved')
  import_weights(image_config(saved), source, tmp_path / 'run')
  printed = capsys.readouterr().out
  assert 'config.encoder.self_attend_heads = 5 (was 3)' in printed
  config = read_config(tmp_path / 'run')
  assert config.encoder.self_attend_heads == 5
  assert config.data.image_size == 9  # Which the class does not say.
  (source / 'config.json').unlink()
  import_weights(image_config(saved), source, tmp_path / 'unknown')
  assert 'do not show in weights' in capsys.readouterr().out
  with pytest.raises(ValueError, match=r'no config.json.*by --config'):
    import_weights(None, source, tmp_path / 'again')


def test_other_sizes_are_told_in_two_lines(tmp_path):
  saved = saved_models.load('masked_lm')
  saved.config.update(d_latents=30, d_model=48, num_self_attends_per_block=4)
  saved.config['v_channels'] = 30
  source = saved_models.write(saved, tmp_path / 'saved')
  with pytest.raises(ValueError) as error:
    import_weights(None, source, tmp_path / 'run')
  assert str(error.value).splitlines() == [
    'These weights are of a model of other sizes than the config:',
    '  width of latents 15, config says 30; width of tokens 24, config says '
    '48; width of inputs 24, config says 48; layers 2, config says 4',
  ]
  assert not (tmp_path / 'run').exists()


def test_a_config_of_other_weights_is_refused(tmp_path):
  saved = saved_models.load('text_classification')
  saved.config['architectures'] = ['PerceiverForMaskedLM']
  source = saved_models.write(saved, tmp_path / 'saved')
  with pytest.raises(ValueError, match=r"'masked_lm', its.*'text_class"):
    import_weights(None, source, tmp_path / 'run')
  (source / 'config.json').write_text('{"model_type": "perc')
  with pytest.raises(ValueError, match=r'config\.json is no JSON'):
    import_weights(None, source, tmp_path / 'run')
  (source / 'model.safetensors').unlink()
  with pytest.raises(FileNotFoundError, match=r'none of model\.safetensors'):
    import_weights(None, source, tmp_path / 'run')


@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_numbers_that_are_none_are_refused_by_name(bad, tmp_path):
  saved = saved_models.load('text_classification')
  saved.weights['perceiver.embeddings.latents'][2, 1] = bad
  source = saved_models.write(saved, tmp_path / 'saved')
  with pytest.raises(ValueError, match=r'embeddings\.latents has 1 of 75 num'):
    import_weights(None, source, tmp_path / 'run')


def test_classes_may_be_any_number_of_an_example_but_no_value(tmp_path):
  saved = saved_models.load('text_classification')
  saved.config['problem_type'] = 'multi_label_classification'
  source = saved_models.write(saved, tmp_path / 'saved')
  import_weights(None, source, tmp_path / 'run')
  config = read_config(tmp_path / 'run')
  assert config.loss.name == 'sigmoid'
  assert config.checkpoints.best_metric.removeprefix('eval/') in (
    make_task(config, None).dataset_metrics.names
  )
  saved.config['problem_type'] = 'regression'
  source = saved_models.write(saved, tmp_path / 'saved')
  with pytest.raises(ValueError, match=r"'regression' with 3 labels"):
    import_weights(None, source, tmp_path / 'again')


def test_labels_are_those_of_the_config(tmp_path):
  saved = saved_models.load('text_classification')
  source = saved_models.write(saved, tmp_path / 'saved')
  import_weights(None, source, tmp_path / 'run')
  data = make_task(read_config(tmp_path / 'run'), None).data
  assert data.class_names == ('sad', 'so so', 'glad')
  (example,) = data.files.from_text(b'hi')
  # [CLS], two bytes, [SEP], as transformers' own tokenizer has it.
  np.testing.assert_array_equal(example['tokens'][:5], [4, 110, 111, 5, 0])
  assert example['input_mask'].sum() == 4
