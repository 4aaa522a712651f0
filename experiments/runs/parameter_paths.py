"""Parameters and state by path, such as `encoder/cross_attend_1/mlp/hidden/w`.

A prefix stands for all that lies below it: `encoder/cross_attend_1` for its
attention and its MLP, but not for `encoder/cross_attend_10`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import haiku as hk

from experiments.host.configuration import suggestion


def is_below(prefixes: Iterable[str], module: str, name: str) -> bool:
  """Whether one of the prefixes stands for this parameter."""
  path = f'{module}/{name}/'
  return any(path.startswith(f'{prefix}/') for prefix in prefixes)


def paths(*trees: Mapping[str, Mapping[str, Any]]) -> set[str]:
  """Returns `module/name` of everything in some parameters or states."""
  return {
    f'{module}/{name}'
    for tree in trees
    for module, name, _ in hk.data_structures.traverse(tree)
  }


def check_prefixes(
  key: str, prefixes: Sequence[str], known_paths: Iterable[str]
) -> None:
  """Raises a ValueError when a prefix stands for none of the paths.

  Args:
    key: of the config, such as 'finetuning.skip', for the message.
    prefixes: the value of that key.
    known_paths: as from `paths`.
  """
  known = set()
  for path in known_paths:
    parts = path.split('/')
    known.update('/'.join(parts[:i]) for i in range(1, len(parts) + 1))
  for prefix in prefixes:
    if prefix not in known:
      raise ValueError(
        f'config.{key} has {prefix!r}, but nothing is called so'
        f'{suggestion(prefix, known)} At the top are '
        f'{sorted(name for name in known if "/" not in name)}.'
      )
