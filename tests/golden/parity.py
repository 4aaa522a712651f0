"""Our models with published weights, against what published code computed.

  python -m tests.golden.parity > docs/parity.md

Needs nothing but this project: the golden files hold weights, inputs and
outputs.
"""

import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from perceiver_jax import pretrained
from perceiver_jax.decoder import Decoder
from perceiver_jax.encoder import Encoder
from perceiver_jax.frame_preprocessors import FramePatches
from perceiver_jax.models import (
  MaskedLanguageModel,
  MultimodalAutoencoder,
  OpticalFlow,
  PerceiverIOClassifier,
)
from perceiver_jax.multimodal import Multimodal
from perceiver_jax.position_encoding import (
  FourierPositions,
  LearnedPositions,
  ProjectedPositions,
)
from perceiver_jax.postprocessors import AudioSamples, ClassLogits, PixelValues
from perceiver_jax.preprocessors import (
  AudioPatches,
  Conv1x1,
  ConvStem,
  OneHot,
  Patches,
  Pixels,
)
from perceiver_jax.queries import GridQueries, LearnedQueries
from perceiver_jax.token_embedding import TokenEmbedding
from tests.golden import saved_models

PAGE = """# Parity

Our models with the weights of published code, against what that code computes:
Hugging Face `transformers` 5.23 (PyTorch, float64) and the authors' released
Haiku code (float64), all six released architectures, built small with random
weights, mapped by our own importer. Ours in float32. Inputs are not square,
modalities not in order, text is masked. Made by `make docs` from the files in
tests/golden; CI makes those of transformers anew and compares.

The figure is the largest absolute difference over the largest absolute value.
The convolution of transformers is padded as the authors' is, see below.

## Parts of the released models

| weights | model | output | difference |
|---|---|---|---:|"""

SAVED = """
## Whole classes of transformers

Each class with a task as it is, at odd sizes (5 latents of 15 channels, 5 and 3
heads), saved by `save_pretrained` in float16, and ours made of that config.json
and these weights:

| class | output | difference |
|---|---|---:|"""

PADDING = """
## The padding of the convolution

The authors' convolution and max-pooling are 'SAME': 224 x 224 pixels become
56 x 56 inputs. Unmodified transformers pads the convolution by 3 on every side
and the pooling nowhere: 55 x 55 inputs, each of which looks one pixel further
up and left. The weights were trained with the authors' padding, which ours is,
so the model agrees with them, as the rows 'padded' say, and not with
transformers as it is. How far that is away depends on weights and images.

| transformers, image_conv | pixels | difference |
|---|---|---:|"""

POSITIONS = """
## On which grids

Transformers and the released code compute coordinates in float32, and
transformers bands and their products too, unless it is told to use float64 as
in the tables above. Ours are float64 until they are rounded, once. The grids
above have 3, 5, 9 or 17 points on most axes, whose coordinates float32 holds;
where they have not, these models average over so many inputs that it does not
show. On others the features themselves differ as follows, ours being the exact
side, and with them outputs that hang on single positions (flow, pixels,
samples):

| grid | bands up to half of | in float32 | ours |
|---|---|---:|---:|"""

FOLDER = pathlib.Path(__file__).parent


class Golden(NamedTuple):
  """A golden file."""

  layout: str
  config: dict[str, Any]
  params: dict[str, np.ndarray]
  state: dict[str, np.ndarray]
  inputs: dict[str, np.ndarray]
  outputs: dict[str, np.ndarray]
  gradients: dict[str, np.ndarray]


def load(layout: str, architecture: str) -> Golden:
  """Reads a golden file."""
  with np.load(
    FOLDER / layout / f'{architecture}.npz', allow_pickle=False
  ) as file:
    config = json.loads(str(file['config']))
    groups = {
      group: {
        key.removeprefix(f'{group}/'): file[key]
        for key in file.files
        if key.startswith(f'{group}/')
      }
      for group in ('params', 'state', 'inputs', 'outputs', 'gradients')
    }
  if layout == 'huggingface':  # One dict holds parameters and buffers there.
    groups['params'] |= groups.pop('state')
    groups['state'] = {}
  return Golden(layout=layout, config=config, **groups)


def make_model(golden: Golden) -> hk.TransformedWithState:
  """Returns our model; `apply(params, state, None, inputs)`."""
  build = {
    'masked_lm': _masked_lm,
    'optical_flow': _optical_flow,
    'multimodal': _multimodal,
  }.get(golden.config['architecture'], _image)

  def forward(inputs):
    return build(golden, {k: jnp.asarray(x) for k, x in inputs.items()})

  return hk.transform_with_state(forward)


def converted(
  golden: Golden, model: hk.TransformedWithState
) -> tuple[hk.Params, hk.State]:
  """Returns the golden weights under our names."""
  params, state = jax.eval_shape(model.init, jax.random.key(0), golden.inputs)
  return pretrained.convert(
    golden.params,
    golden.state,
    params,
    state,
    layout=golden.layout,
    architecture=golden.config['architecture'],
  )


def compare(golden: Golden) -> dict[str, float]:
  """Returns, for each output, the largest difference relative to its size."""
  model = make_model(golden)
  params, state = converted(golden, model)
  outputs, _ = jax.jit(model.apply)(params, state, None, golden.inputs)
  return {
    name: relative_difference(np.asarray(x), reference(golden, name))
    for name, x in outputs.items()
  }


def reference(golden: Golden, name: str) -> np.ndarray:
  """Returns a golden output in our conventions."""
  config = golden.config
  if config['architecture'] == 'image_conv' and golden.layout == 'huggingface':
    # Its own padding loses a row; that of the released code is compared.
    name = f'{name}_same_padding'
  expected = golden.outputs[name]
  if name == 'flow':  # In pixels.
    expected = expected * 20.0 / config['output_multiplied_by']
  if 'query_mask' in golden.inputs and name == 'logits':
    # The released code leaves numbers where no prediction is wanted.
    expected = np.where(
      golden.inputs['query_mask'][..., None].astype(bool), expected, np.nan
    )
  return expected


def relative_difference(x: np.ndarray, expected: np.ndarray) -> float:
  """Largest absolute difference over the largest absolute value."""
  wanted = ~np.isnan(expected)
  difference = np.abs(x - expected)[wanted].max()
  return float(difference / np.abs(expected[wanted]).max())


def _settings(golden: Golden, section: str) -> dict[str, Any]:
  """What the importer says a section of the model must be set to."""
  values = pretrained.settings(golden.layout, golden.config['architecture'])
  prefix = f'{section}.'
  return {
    key.removeprefix(prefix): value
    for key, value in values.items()
    if key.startswith(prefix)
  }


def _encoder(golden: Golden) -> Encoder:
  config = golden.config
  cross, latent = config['cross_attend'], config['self_attend']
  return Encoder(
    num_latents=config['num_latents'],
    latent_channels=config['latent_channels'],
    cross_attends=(1,) + (0,) * (config['num_blocks'] - 1),
    self_attends_per_block=config['num_layers'],
    cross_attend_heads=cross['num_heads'],
    cross_attend_qk_channels=cross['qk_channels'],
    cross_attend_v_channels=cross['v_channels'],
    self_attend_heads=latent['num_heads'],
    self_attend_qk_channels=latent['qk_channels'],
    self_attend_v_channels=latent['v_channels'],
    **_settings(golden, 'encoder'),
  )


def _decoder(golden: Golden) -> Decoder:
  config = golden.config['decoder']
  return Decoder(
    output_channels=config['output_channels'],
    num_heads=config['num_heads'],
    qk_channels=config['qk_channels'],
    v_channels=config['v_channels'],
    **_settings(golden, 'decoder'),
  )


def _fourier(config: dict[str, Any], **more: Any) -> FourierPositions:
  return FourierPositions(
    num_bands=config['num_bands'],
    max_resolution=config['max_resolution'],
    **more,
  )


def _image(golden: Golden, inputs: dict[str, jax.Array]):
  config = golden.config['input']
  architecture = golden.config['architecture']
  if architecture == 'image_fourier':
    preprocessor = Pixels(positions=_fourier(config['positions']))
  elif architecture == 'image_conv':
    preprocessor = ConvStem(
      num_channels=config['num_channels'],
      positions=_fourier(config['positions']),
    )
  else:
    positions = config['positions']
    preprocessor = Conv1x1(
      num_channels=config['num_channels'],
      positions=ProjectedPositions(
        positions=LearnedPositions(num_channels=positions['num_channels']),
        num_channels=positions['projected_channels'],
      ),
    )
  model = PerceiverIOClassifier(
    preprocessor=preprocessor,
    encoder=_encoder(golden),
    queries=LearnedQueries(
      num_queries=1, num_channels=golden.config['decoder']['query_channels']
    ),
    decoder=_decoder(golden),
  )
  return {'logits': model(inputs['images'], is_training=hk.running_init())}


def _masked_lm(golden: Golden, inputs: dict[str, jax.Array]):
  config = golden.config
  model = MaskedLanguageModel(
    embedding=TokenEmbedding(
      vocab_size=config['vocab_size'],
      num_channels=config['embedding_channels'],
      max_length=config['max_length'],
    ),
    encoder=_encoder(golden),
    queries=LearnedQueries(
      num_queries=config['max_length'],
      num_channels=config['decoder']['query_channels'],
    ),
    decoder=_decoder(golden),
  )
  query_mask = inputs.get('query_mask')
  logits = model(
    inputs['tokens'],
    is_training=hk.running_init(),
    input_mask=inputs['mask'].astype(bool),
    query_mask=None if query_mask is None else query_mask.astype(bool),
  )
  return {'logits': logits}


def _optical_flow(golden: Golden, inputs: dict[str, jax.Array]):
  config = golden.config['input']
  model = OpticalFlow(
    preprocessor=FramePatches(
      patch_size=config['patch_size'],
      num_channels=config['num_channels'],
      concatenate_frames=True,
      positions=_fourier(config['positions']),
    ),
    encoder=_encoder(golden),
    decoder=_decoder(golden),
  )
  return {'flow': model(inputs['frames'], is_training=hk.running_init())}


def _multimodal(golden: Golden, inputs: dict[str, jax.Array]):
  config, samples = golden.config, golden.config['samples_per_patch']
  raw, queries = config['input'], config['queries']
  settings = _settings(golden, 'queries')

  def query_positions(modality: str) -> GridQueries:
    return GridQueries(
      grid_shape=queries[modality]['grid_shape'],
      positions=_fourier(
        queries[modality]['positions'],
        include_end=settings[f'{modality}.positions.include_end'],
      ),
    )

  model = MultimodalAutoencoder(
    # Not in alphabetical order, on purpose.
    preprocessor=Multimodal(
      preprocessors={
        'label': OneHot(num_classes=config['num_classes']),
        'image': Patches(
          patch_shape=raw['image']['patch_shape'],
          positions=_fourier(raw['image']['positions']),
        ),
        'audio': AudioPatches(
          samples_per_patch=samples,
          positions=_fourier(raw['audio']['positions']),
        ),
      },
      min_padding=raw['min_padding'],
      mask_rates={'label': 0.5, 'image': 0.0, 'audio': 0.0},
      masked_in_evaluation=('label',),
    ),
    encoder=_encoder(golden),
    queries={
      'label': LearnedQueries(
        num_queries=1,
        num_channels=queries['label']['positions']['num_channels'],
      ),
      'image': query_positions('image'),
      'audio': query_positions('audio'),
    },
    decoder=_decoder(golden),
    postprocessors={
      'image': PixelValues(num_channels=config['video_channels']),
      'label': ClassLogits(num_classes=config['num_classes']),
      'audio': AudioSamples(samples_per_patch=samples),
    },
    query_min_padding=queries['min_padding'],
  )
  return model(
    {
      'label': inputs['label'].argmax(axis=-1),
      'image': inputs['image'],
      'audio': inputs['audio'],
    },
    is_training=hk.running_init(),
    points={'image': inputs['image_points'], 'audio': inputs['audio_points']},
  )


def saved_rows() -> Iterator[str]:
  """Compares with the classes of transformers as they are."""
  for name in saved_models.NAMES:
    saved = saved_models.load(name)
    predictions = saved_models.our_model(saved)(
      saved_models.batch_of(name, saved.inputs)
    )
    for output, expected in saved_models.expected_of(name, saved).items():
      ours = predictions
      if isinstance(predictions, dict):
        ours = predictions[output]
      difference = relative_difference(np.asarray(ours), expected)
      note = ', padding made equal' if name == 'image_conv' else ''
      yield f'| {name}{note} | {output} | {difference:.1e} |'


def padding_rows() -> Iterator[str]:
  """Compares with the convolution as it is, and padded as the authors'."""
  saved = saved_models.load('image_conv')
  model = saved_models.our_model(saved)
  grids = {'20x36': saved.inputs['images']} | {
    grid: saved_models.images_of(grid) for grid in ('28x44', '224x224')
  }
  for grid, images in grids.items():
    ours = np.asarray(model({'image': images}))
    key = 'logits' if grid == '20x36' else f'logits_{grid}'
    for kind, ending in (('as it is', ''), ('padded', '_same_padding')):
      difference = relative_difference(ours, saved.outputs[key + ending])
      size = grid.replace('x', ' x ')
      yield f'| {kind} | {size} | {difference:.1e} |'


# Grids of the papers: points, bands, and what these are up to half of.
_GRIDS = (
  ((5, 9), 3, (6, 12)),
  ((56, 56), 64, (56, 56)),
  ((224, 224), 64, (224, 224)),
  ((368, 496), 64, (368, 496)),
  ((16, 56, 56), 32, (16, 56, 56)),
  ((1920,), 192, (30_720,)),
)


def position_rows() -> Iterator[str]:
  """Compares features with their exact values."""
  for grid, num_bands, resolution in _GRIDS:
    sizes = ' x '.join(map(str, grid)), ' x '.join(map(str, resolution))
    single, ours = position_errors(grid, num_bands, resolution)
    yield f'| {" | ".join(sizes)} | {single:.0e} | {ours:.0e} |'


def position_errors(
  grid: Sequence[int], num_bands: int, resolution: Sequence[int]
) -> tuple[float, float]:
  """Returns the largest errors of features in float32, and of ours."""
  positions = FourierPositions(num_bands=num_bands, max_resolution=resolution)
  ours = hk.transform(lambda: positions(grid)).apply({}, None)
  exact = _features(grid, num_bands, resolution, np.float64)
  single = _features(grid, num_bands, resolution, np.float32)
  return tuple(
    float(np.abs(x - exact).max()) for x in (single, np.asarray(ours))
  )


def _features(
  grid: Sequence[int], num_bands: int, resolution: Sequence[int], dtype: Any
) -> np.ndarray:
  """Fourier features as transformers computes them, in a dtype."""
  axes = [np.linspace(-1, 1, size).astype(dtype) for size in grid]
  coordinates = np.stack(np.meshgrid(*axes, indexing='ij'), axis=-1)
  bands = [
    np.linspace(1, top / 2, num_bands).astype(dtype) for top in resolution
  ]
  products = dtype(np.pi) * (coordinates[..., None] * np.stack(bands))
  products = products.reshape(-1, len(grid) * num_bands)
  coordinates = coordinates.reshape(-1, len(grid))
  return np.concatenate(
    [coordinates, np.sin(products), np.cos(products)], axis=-1
  )


def main() -> None:
  """Prints the page."""
  print(PAGE)
  for layout in pretrained.LAYOUTS:
    for architecture in pretrained.ARCHITECTURES['released']:
      for output, difference in compare(load(layout, architecture)).items():
        print(f'| {layout} | {architecture} | {output} | {difference:.1e} |')
  print(SAVED)
  for row in saved_rows():
    print(row)
  print(PADDING)
  for row in padding_rows():
    print(row)
  print(POSITIONS)
  for row in position_rows():
    print(row)


if __name__ == '__main__':
  main()
