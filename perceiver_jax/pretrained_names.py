"""How published weights name the parameters of our models.

Columns are in the order of `LAYOUTS`: the state dict keys of Hugging Face
`transformers`, and `module|name` of the authors' released Haiku parameters.
"""

import itertools
from collections.abc import Iterator

_RELEASED = (
  'masked_lm',
  'image_fourier',
  'image_learned',
  'image_conv',
  'optical_flow',
  'multimodal',
)
# Of each layout.
ARCHITECTURES = {
  'huggingface': (*_RELEASED, 'text_classification'),
  'released': _RELEASED,
}
LAYOUTS = tuple(ARCHITECTURES)

# Module path and name of a parameter here.
Name = tuple[str, str]

# Of a cross-attend or self-attend: ours, Hugging Face's, the released code's
# in a cross-attend and in a self-attend, where there is no 'inputs_norm'.
_SUBMODULES = (
  ('norm', 'attention.self.layernorm1', 'layer_norm', 'layer_norm'),
  ('inputs_norm', 'attention.self.layernorm2', 'layer_norm_1', None),
  ('attention/query', 'attention.self.query', *['attention/linear'] * 2),
  ('attention/key', 'attention.self.key', *['attention/linear_1'] * 2),
  ('attention/value', 'attention.self.value', *['attention/linear_2'] * 2),
  ('attention/output', 'attention.output.dense', *['attention/linear_3'] * 2),
  ('mlp_norm', 'layernorm', 'layer_norm_2', 'layer_norm_1'),
  ('mlp/hidden', 'mlp.dense1', *['mlp/linear'] * 2),
  ('mlp/output', 'mlp.dense2', *['mlp/linear_1'] * 2),
)
_HUGGINGFACE_LEAVES = {
  'w': 'weight',
  'b': 'bias',
  'scale': 'weight',
  'offset': 'bias',
}
LAYERS = 'encoder/latent_block_0/layers/self_attend'

# Prefixes of modules: ours, Hugging Face's, the released code's.
_HF_DECODER = 'perceiver.decoder.decoder'
_CLASS_DECODER = 'classification_decoder/~/basic_decoder'
_RELEASED_DECODERS = {
  'masked_lm': 'basic_decoder',
  'image_fourier': _CLASS_DECODER,
  'image_learned': _CLASS_DECODER,
  'image_conv': _CLASS_DECODER,
  'optical_flow': 'flow_decoder/~/basic_decoder',
  'multimodal': 'multimodal_decoder/~/basic_decoder',
  'text_classification': _CLASS_DECODER,  # Hugging Face's alone.
}
_CLASS_HEAD = {
  ('learned_queries/queries', 'positions'): (
    f'{_HF_DECODER}.output_position_encodings.position_embeddings',
    f'{_CLASS_DECODER}/~/trainable_position_encoding|pos_embs',
  ),
}
_TOKENS = {
  ('token_embedding', 'embeddings'): (
    'perceiver.input_preprocessor.embeddings.weight',
    'embed|embeddings',
  ),
  ('token_embedding/positions', 'positions'): (
    'perceiver.input_preprocessor.position_embeddings.weight',
    'trainable_position_encoding|pos_embs',
  ),
}
_IMAGE_POSITIONS = 'image_preprocessor/~_build_network_inputs'
HF_BATCH_NORM = 'perceiver.input_preprocessor.convnet.batchnorm'
RELEASED_CONV = 'image_preprocessor/~/conv2_d_downsample/~'
_CONV_STEM = 'conv_stem/convolutions'


def _linear(ours: str, huggingface: str, released: str) -> dict:
  return {
    (ours, leaf): (
      f'{huggingface}.{_HUGGINGFACE_LEAVES[leaf]}',
      f'{released}|{leaf}',
    )
    for leaf in ('w', 'b')
  }


def _modality_vectors() -> dict:
  names = {}
  for modality in ('audio', 'image', 'label'):
    names |= {
      ('multimodal/packing', f'{modality}_padding'): (
        f'perceiver.input_preprocessor.padding.{modality}',
        f'multimodal_preprocessor/{modality}_padding|pos_embs',
      ),
      ('multimodal', f'{modality}_mask'): (
        f'perceiver.input_preprocessor.mask.{modality}',
        f'multimodal_preprocessor/{modality}_mask_token|pos_embs',
      ),
      ('multimodal_autoencoder/query_packing', f'{modality}_padding'): (
        f'perceiver.decoder.padding.{modality}',
        f'multimodal_decoder/~decoder_query/{modality}_padding|pos_embs',
      ),
    }
  return names


# What stands outside encoder and decoder attention, for each architecture:
# our name to Hugging Face's and to the released code's.
OTHERS = {
  'masked_lm': {
    **_TOKENS,
    ('learned_queries/queries', 'positions'): (
      'perceiver.decoder.output_position_encodings.position_embeddings',
      'basic_decoder/~/trainable_position_encoding|pos_embs',
    ),
    ('masked_language_model/token_logits', 'b'): (
      'embedding_decoder.bias',
      'embedding_decoder|bias',
    ),
  },
  'text_classification': {**_TOKENS, **_CLASS_HEAD},
  'image_fourier': _CLASS_HEAD,
  'image_learned': {
    **_CLASS_HEAD,
    **_linear(
      'conv1x1/conv',
      'perceiver.input_preprocessor.convnet_1x1',
      'image_preprocessor/~/conv2_d',
    ),
    **_linear(
      'projected_positions/projection',
      'perceiver.input_preprocessor.positions_projection',
      f'{_IMAGE_POSITIONS}/position_encoding_projector/linear',
    ),
    ('learned_positions', 'positions'): (
      'perceiver.input_preprocessor.position_embeddings.position_embeddings',
      f'{_IMAGE_POSITIONS}/trainable_position_encoding|pos_embs',
    ),
  },
  'image_conv': {
    **_CLASS_HEAD,
    (f'{_CONV_STEM}/conv_0', 'w'): (
      'perceiver.input_preprocessor.convnet.conv.weight',
      f'{RELEASED_CONV}/conv|w',
    ),
    (f'{_CONV_STEM}/batch_norm_0', 'scale'): (
      f'{HF_BATCH_NORM}.weight',
      f'{RELEASED_CONV}/batchnorm|scale',
    ),
    (f'{_CONV_STEM}/batch_norm_0', 'offset'): (
      f'{HF_BATCH_NORM}.bias',
      f'{RELEASED_CONV}/batchnorm|offset',
    ),
  },
  'optical_flow': _linear(
    'frame_patches/patches',
    'perceiver.input_preprocessor.conv_after_patches',
    'image_preprocessor/patches_linear',
  ),
  'multimodal': {
    **_modality_vectors(),
    **_linear(
      'audio_samples/samples',
      'perceiver.output_postprocessor.modalities.audio.classifier',
      'audio_postprocessor/linear',
    ),
    **_linear(
      'pixel_values/pixels',
      'perceiver.output_postprocessor.modalities.image.classifier',
      'projection_postprocessor/linear',
    ),
    **_linear(
      'class_logits/logits',
      'perceiver.output_postprocessor.modalities.label.classifier',
      'classification_postprocessor/linear',
    ),
    ('learned_queries/queries', 'positions'): (
      'perceiver.decoder.modalities.label.decoder.output_position_encodings'
      '.position_embeddings',
      f'{_CLASS_DECODER}/~/trainable_position_encoding|pos_embs',
    ),
  },
}


def source_names(layout: str, architecture: str) -> Iterator[tuple[Name, str]]:
  """Yields our name of each parameter and the source's.

  Args:
    layout: one of `LAYOUTS`.
    architecture: one of `ARCHITECTURES[layout]`.

  Yields:
    (module, name) and the source's name; for the parameters of a layer stack
    it holds '{layer}', to be replaced by `layer_name` of each layer.
  """
  column = LAYOUTS.index(layout)
  for name, keys in OTHERS[architecture].items():
    yield name, keys[column]
  released_encoder = (
    'encoder' if architecture == 'multimodal' else 'perceiver_encoder'
  )
  released_decoder = _RELEASED_DECODERS[architecture]
  hf_decoder = (
    'perceiver.decoder' if architecture == 'masked_lm' else _HF_DECODER
  )
  yield (
    ('encoder', 'latents'),
    (
      'perceiver.embeddings.latents',
      f'{released_encoder}/~/trainable_position_encoding|pos_embs',
    )[column],
  )
  if architecture != 'masked_lm':
    heads = _linear(
      'decoder/output',
      f'{_HF_DECODER}.final_layer',
      f'{released_decoder}/output',
    )
    for name, keys in heads.items():
      yield name, keys[column]
  blocks = (
    (
      'encoder/cross_attend_0',
      'perceiver.encoder.cross_attention',
      f'{released_encoder}/~/cross_attention',
    ),
    (
      LAYERS,
      'perceiver.encoder.self_attends.{layer}',
      f'{released_encoder}/~/self_attention{{layer}}',
    ),
    (
      'decoder/cross_attend',
      f'{hf_decoder}.decoding_cross_attention',
      f'{released_decoder}/cross_attention',
    ),
  )
  for block, submodule in itertools.product(blocks, _SUBMODULES):
    yield from _submodule_names(block, submodule, layout)


def _submodule_names(
  block: tuple[str, str, str], submodule: tuple, layout: str
) -> Iterator[tuple[Name, str]]:
  ours, huggingface, cross, self_attend = submodule
  released = self_attend if block[0] == LAYERS else cross
  if released is None:
    return
  for leaf in ('scale', 'offset') if ours.endswith('norm') else ('w', 'b'):
    key = f'{block[2]}/{released}|{leaf}'
    if layout == 'huggingface':
      key = f'{block[1]}.{huggingface}.{_HUGGINGFACE_LEAVES[leaf]}'
    yield (f'{block[0]}/{ours}', leaf), key


def layer_name(layout: str, i: int) -> str:
  """Returns what stands for '{layer}' in the names of layer i."""
  if layout == 'huggingface':
    return str(i)
  return f'_{i}' if i else ''  # Haiku numbers from the second on.
