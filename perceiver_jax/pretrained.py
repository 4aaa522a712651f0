"""Published weights in, parameters out: pure functions of dicts.

Two layouts are known: 'huggingface', the state dicts of the Perceiver models of
Hugging Face `transformers`, and 'released', the Haiku parameters and state that
came with the authors' code. Names are mapped by tables; what a table yields
must be exactly the parameters of the model, in the same shapes.

Weights alone do not make the same model: `huggingface.model` reads the rest
from the config.json that lies beside them; where there is none, `settings` says
what is known of a source.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import haiku as hk
import numpy as np

from perceiver_jax.pretrained_names import (
  ARCHITECTURES,
  HF_BATCH_NORM,
  LAYERS,
  LAYOUTS,
  OTHERS,
  RELEASED_CONV,
  Name,
  layer_name,
  source_names,
)

# Changes an array that does not fit: the parameter's name, the array, and the
# shape that is wanted, to an array of that shape or None.
Resize = Callable[[Name, np.ndarray, tuple[int, ...]], np.ndarray | None]


def settings(layout: str, architecture: str) -> dict[str, Any]:
  """What a model must be set to, besides its weights.

  Args:
    layout: one of `LAYOUTS`.
    architecture: one of `ARCHITECTURES[layout]`.

  Returns:
    Values by path in a config: the kind of GELU, whether the decoder adds its
    queries, and where output points of video and sound lie.
  """
  _check(layout, architecture)
  approximate = layout == 'released'
  values = {
    'encoder.approximate_gelu': approximate,
    'decoder.approximate_gelu': approximate,
    # transformers adds the query in all three image models, the released code
    # not with learned positions.
    'decoder.query_residual': architecture in ('image_fourier', 'image_conv')
    or (architecture == 'image_learned' and layout == 'huggingface'),
  }
  if architecture == 'multimodal':
    for modality in ('audio', 'image'):
      values[f'queries.{modality}.positions.include_end'] = False
  return values


def architecture_of(names: Mapping[str, Any], layout: str) -> str:
  """Tells the architecture from the names of the source's arrays.

  Args:
    names: `module|name` for 'released', state dict keys for 'huggingface'.
    layout: one of `LAYOUTS`.

  Raises:
    ValueError: it is none of `ARCHITECTURES[layout]`.
  """
  column = LAYOUTS.index(layout)
  # The one that explains most names; image_fourier, with the fewest of its
  # own, comes last among equals.
  score = {
    architecture: sum(
      keys[column] in names for keys in OTHERS[architecture].values()
    )
    for architecture in ARCHITECTURES[layout]
  }
  best = max(
    score, key=lambda name: (score[name], score[name] == len(OTHERS[name]))
  )
  if not score[best]:
    raise ValueError(
      f'These are not weights of a known model in the layout {layout!r}; the '
      f'known ones are {ARCHITECTURES[layout]}. The first names are '
      f'{sorted(names)[:5]}.'
    )
  return best


def convert(
  source: Mapping[str, np.ndarray],
  source_state: Mapping[str, np.ndarray],
  params: hk.Params,
  state: hk.State,
  *,
  layout: str,
  architecture: str,
  resize: Resize | None = None,
) -> tuple[hk.MutableParams, hk.MutableState]:
  """Maps published weights to the parameters and state of a model.

  Args:
    source: arrays by name: `module|name` for 'released', the keys of the state
      dict for 'huggingface'.
    source_state: of 'released', Haiku's state by `module|name`.
    params: of the model, for names, shapes and dtypes.
    state: of the model, likewise.
    layout: one of `LAYOUTS`.
    architecture: one of `ARCHITECTURES[layout]`.
    resize: changes arrays of another shape, such as position tables.

  Returns:
    Parameters and state as numpy arrays.

  Raises:
    ValueError: a number is not finite, sizes differ, or entries are missing,
      left over, or of another shape.
  """
  _check(layout, architecture)
  check_finite({**source, **source_state})
  names = dict(source_names(layout, architecture))
  _check_sizes(source, params, names, layout)
  loader = _Loader(source, layout, resize, set(), [])
  converted = {
    module: {
      name: loader.load((module, name), names.get((module, name)), like)
      for name, like in leaves.items()
    }
    for module, leaves in params.items()
  }
  converted_state, used_state, problems = _convert_state(
    source, source_state, state, layout
  )
  rest = {*source, *source_state} - loader.used - used_state
  problems = [
    *loader.problems,
    *problems,
    *(f'{key}: left over' for key in sorted(rest)),
  ]
  if problems:
    more = len(problems) - _LISTED
    raise ValueError(
      f'These {architecture} weights do not fit the model:\n  '
      + '\n  '.join(problems[:_LISTED])
      + (f'\n  and {more} more.' if more > 0 else '')
    )
  return converted, converted_state


def check_finite(arrays: Mapping[str, Any]) -> None:
  """Raises a ValueError that names an array with a NaN or an infinity."""
  for name, array in arrays.items():
    array = np.asarray(array)
    # Neither of numpy's own kinds is bfloat16.
    if array.dtype.kind not in 'iub':
      bad = array.size - int(np.isfinite(array.astype(np.float32)).sum())
      if bad:
        raise ValueError(
          f'{name} has {bad} of {array.size} numbers that are NaN or infinite. '
          'Such weights are of no use: take those of an earlier checkpoint, '
          'or get the file anew.'
        )


# What the axes of a parameter are called; None is told by another one.
_SIZES = {
  ('encoder', 'latents'): ('latents', 'width of latents'),
  ('token_embedding', 'embeddings'): ('vocabulary', 'width of tokens'),
  ('token_embedding/positions', 'positions'): ('positions of tokens', None),
  ('encoder/cross_attend_0/attention/key', 'w'): (
    'width of inputs',
    'channels of queries and keys',
  ),
  ('decoder/output', 'w'): ('width of output queries', 'outputs'),
}
_LISTED = 8


def _check_sizes(
  source: Mapping[str, np.ndarray],
  params: hk.Params,
  names: Mapping[Name, str],
  layout: str,
) -> None:
  """Raises a ValueError of two lines where the sizes of models differ."""
  if any(
    (m, name) not in names for m, leaves in params.items() for name in leaves
  ):
    return  # Not even the kind of model is the same.
  found = []
  for name, axes in _SIZES.items():
    module, leaf = name
    array = source.get(names.get(name, ''))
    if array is not None and leaf in params.get(module, ()):
      given = _in_our_axes(np.asarray(array), leaf, layout).shape
      wanted = params[module][leaf].shape
      found += zip(axes, given[-len(axes) :], wanted, strict=False)
  stack = params.get(f'{LAYERS}/norm', {}).get('scale')
  if stack is not None:
    key = names[f'{LAYERS}/norm', 'scale']
    given = 0
    while key.format(layer=layer_name(layout, given)) in source:
      given += 1
    found.append(('layers', given, stack.shape[0]))
  differing = [
    f'{axis} {given}, config says {wanted}'
    for axis, given, wanted in found
    if axis is not None and given != wanted
  ]
  if differing:
    raise ValueError(
      'These weights are of a model of other sizes than the config:\n  '
      + '; '.join(differing)
    )


class _Loader(NamedTuple):
  """Takes arrays out of a source and notes what was used and what is wrong."""

  source: Mapping[str, np.ndarray]
  layout: str
  resize: Resize | None
  used: set[str]
  problems: list[str]

  def load(self, name: Name, key: str | None, like: Any) -> np.ndarray | None:
    """Returns the array for a parameter like this, its layers stacked."""
    if key is None:
      self.problems.append(
        f'{"/".join(name)}: the source has nothing of the kind'
      )
      return None
    if not name[0].startswith(LAYERS):
      array = self._fit(name, key, like.shape)
      return None if array is None else array.astype(like.dtype)
    layers = [
      self._fit(
        name, key.format(layer=layer_name(self.layout, i)), like.shape[1:]
      )
      for i in range(like.shape[0])
    ]
    if any(layer is None for layer in layers):
      return None
    return np.stack(layers).astype(like.dtype)

  def _fit(
    self, name: Name, key: str, shape: tuple[int, ...]
  ) -> np.ndarray | None:
    self.used.add(key)
    if key not in self.source:
      self.problems.append(f'{"/".join(name)}: {key} is missing')
      return None
    array = _in_our_axes(np.asarray(self.source[key]), name[1], self.layout)
    fitted = _squeezed_to(array, shape)
    if fitted is None and self.resize is not None:
      fitted = self.resize(name, array, shape)
    if fitted is None:
      self.problems.append(
        f'{"/".join(name)}: {key} has shape {array.shape}, the model {shape}'
      )
    return fitted


# So many steps that batch norm's bias correction is over.
_MANY_STEPS = 10_000


def _convert_state(
  source: Mapping[str, np.ndarray],
  source_state: Mapping[str, np.ndarray],
  state: hk.State,
  layout: str,
) -> tuple[hk.MutableState, set[str], list[str]]:
  """Returns state, the names it was made from, and what is wrong."""
  converted, used, problems = {}, set(), []
  for module, leaves in state.items():
    kind = module.split('/')[-1]  # mean_ema or var_ema of a batch norm.
    converted[module] = {}
    for name, like in leaves.items():
      if layout == 'released':
        key = f'{RELEASED_CONV}/batchnorm/~/{kind}|{name}'
        array = source_state.get(key)
      else:
        moment = {'mean_ema': 'mean', 'var_ema': 'var'}[kind]
        key = f'{HF_BATCH_NORM}.running_{moment}'
        array = source.get(key)
        if name == 'counter':
          array = np.int32(_MANY_STEPS)
          used.add(f'{HF_BATCH_NORM}.num_batches_tracked')
      used.add(key)
      if array is None:
        problems.append(f'{module}/{name}: {key} is missing')
        continue
      fitted = _squeezed_to(np.asarray(array), like.shape)
      if fitted is None:
        problems.append(
          f'{module}/{name}: {key} has shape {np.shape(array)}, the model '
          f'{like.shape}'
        )
        continue
      converted[module][name] = fitted.astype(like.dtype)
  return converted, used, problems


def _in_our_axes(array: np.ndarray, leaf: str, layout: str) -> np.ndarray:
  """PyTorch's weights are [out, in] and [out, in, height, width]."""
  if layout == 'huggingface' and leaf == 'w':
    return array.transpose(*range(2, array.ndim), 1, 0)
  return array


def _squeezed_to(
  array: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray | None:
  """Returns it in another shape when only axes of size one differ."""

  def sizes(shape: tuple[int, ...]) -> list[int]:
    return [size for size in shape if size != 1]

  if sizes(array.shape) != sizes(shape):
    return None
  return array.reshape(shape)


def _check(layout: str, architecture: str) -> None:
  for argument, value, known in (
    ('layout', layout, LAYOUTS),
    ('architecture', architecture, ARCHITECTURES.get(layout, ())),
  ):
    if value not in known:
      raise ValueError(f'{argument} must be one of {known}, got {value!r}.')
