"""Parts of a Perceiver in NumPy and float64, written from the papers.

Parameters are those of our modules, by module and name.
"""

import math

import numpy as np


def linear(params, name, x):
  return x @ np.float64(params[name]['w']) + np.float64(params[name]['b'])


def layer_norm(params, name, x):
  centred = x - x.mean(-1, keepdims=True)
  scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
  scale, offset = (np.float64(params[name][x]) for x in ('scale', 'offset'))
  return scaled * scale + offset


def rms_norm(params, name, x):
  return (
    x
    / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)
    * (np.float64(params[name]['scale']))
  )


def gelu(x):
  return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def mlp(params, name, x):
  hidden = gelu(linear(params, f'{name}/hidden', x))
  return linear(params, f'{name}/output', hidden)


def gated_mlp(params, name, x):
  gate = gelu(linear(params, f'{name}/gate', x))
  hidden = gate * linear(params, f'{name}/hidden', x)
  return linear(params, f'{name}/output', hidden)


def rotate(x, positions=None):
  """`[B, N, H, D]`: pairs of channels as complex numbers."""
  half = x.shape[-1] // 2
  if positions is None:
    positions = np.arange(x.shape[1])
  angles = np.outer(positions, 10_000.0 ** (-np.arange(half) / half))
  pairs = x[..., :half] + 1j * x[..., half:]
  pairs = pairs * np.exp(1j * angles)[None, :, None]
  return np.concatenate([pairs.real, pairs.imag], axis=-1)


def attend(query, key, value, mask=None):
  """`[B, N, H, D]` and `[B, M, H, D]`, one query after the other."""
  batch, num_queries, heads, channels = query.shape
  if mask is None:
    mask = np.ones((1, 1, 1, 1), bool)
  elif mask.ndim < 4:
    mask = mask[:, None] if mask.ndim == 3 else mask[:, None, None]
  mask = np.broadcast_to(mask, (batch, heads, num_queries, key.shape[1]))
  result = np.zeros((batch, num_queries, heads, value.shape[-1]))
  for b, h, n in np.ndindex(batch, heads, num_queries):
    seen = np.flatnonzero(mask[b, h, n])
    if seen.size:
      scores = key[b, seen, h] @ query[b, n, h] / math.sqrt(channels)
      weights = np.exp(scores - scores.max())
      result[b, n, h] = weights @ value[b, seen, h] / weights.sum()
  return result


def attention(
  params, name, queries, inputs, *, heads, mask=None, process_heads=None
):
  query, key, value = (
    x.reshape(*x.shape[:2], heads, -1)
    for x in (
      linear(params, f'{name}/query', queries),
      linear(params, f'{name}/key', inputs),
      linear(params, f'{name}/value', inputs),
    )
  )
  if process_heads is not None:
    query, key = process_heads(query), process_heads(key)
  attended = attend(query, key, value, mask)
  attended = attended.reshape(*attended.shape[:2], -1)
  return linear(params, f'{name}/output', attended)


def self_attend(params, name, x, *, norm=layer_norm, ff=mlp, **settings):
  normalized = norm(params, f'{name}/norm', x)
  x = x + attention(
    params, f'{name}/attention', normalized, normalized, **settings
  )
  return x + ff(params, f'{name}/mlp', norm(params, f'{name}/mlp_norm', x))


def cross_attend(
  params,
  name,
  x,
  inputs,
  *,
  norm=layer_norm,
  ff=mlp,
  residual=True,
  joined=False,
  **settings,
):
  normalized = norm(params, f'{name}/norm', x)
  inputs = norm(params, f'{name}/inputs_norm', inputs)
  if joined:
    inputs = np.concatenate([inputs, normalized], axis=1)
  attended = attention(
    params, f'{name}/attention', normalized, inputs, **settings
  )
  x = x + attended if residual else attended
  return x + ff(params, f'{name}/mlp', norm(params, f'{name}/mlp_norm', x))


def layer(params, number):
  """The parameters of one layer of a stack."""
  return {
    module: {
      name: array[number] if '/layers/' in module else array
      for name, array in leaves.items()
    }
    for module, leaves in params.items()
  }
