"""Looks for settings with which a run fits on devices, and is fast there.

What a setting needs is asked of a compilation that stops early, for many; how
long a step takes, of whole compilations, for the few most promising.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import ml_collections

from perceiver_jax.stacking import REMATERIALIZATIONS

# Operations of a step in relation to 'none': docs/scaling.md, in the middle.
_WORK = {None: 1.0, 'none': 1.0, 'elementwise': 1.04, 'layers': 1.2}
# What a float32 step, a sharded state and each doubling of the microbatches
# cost besides. Only an order in which to look: times decide.
_FLOAT32, _SHARDED, _DOUBLED = 1.5, 1.03, 1.02


# Of the memory, what a program may take: the next batch is there already.
MOST_MEMORY = 0.95


class Setting(NamedTuple):
  """How steps of a config are computed.

  Attributes:
    compute_dtype: see `configuration.RUN_DEFAULTS`.
    rematerialize: of the encoder; None where there is none.
    shards: devices that a state is divided among; None for a whole state on
      each, under pmap.
    microbatches: parts of a device's batch.
  """

  compute_dtype: str
  rematerialize: str | None
  shards: int | None
  microbatches: int


class Memory(NamedTuple):
  """What a setting needs, as a compiler says.

  Attributes:
    peak: bytes on a device; None where the compiler fails.
    fits: whether that is there.
  """

  peak: int | None
  fits: bool


class Tried(NamedTuple):
  """A setting that was compiled.

  Attributes:
    setting: that was tried.
    memory: that it needs.
    seconds: of a step; None where only its memory was asked for, or the
      compiler estimates no times.
  """

  setting: Setting
  memory: Memory
  seconds: float | None


def own_setting(config: ml_collections.ConfigDict) -> Setting:
  """Returns the setting that a config has."""
  way = config.parallelism
  return Setting(
    config.compute_dtype,
    config.get('encoder', {}).get('rematerialize'),
    # Sharded among all devices is told apart from pmap by a number.
    None if way.name == 'pmap' else way.get('shards') or 0,
    config.microbatches,
  )


def setting_text(setting: Setting) -> str:
  """Returns a setting in a line."""
  words = [setting.compute_dtype]
  if setting.rematerialize is not None:
    words.append(f'rematerialize {setting.rematerialize}')
  words.append(
    'pmap' if setting.shards is None else f'sharded in {setting.shards}'
  )
  several = 'es' if setting.microbatches > 1 else ''
  words.append(f'{setting.microbatches} microbatch{several}')
  return ', '.join(words)


def with_setting(
  config: ml_collections.ConfigDict, setting: Setting
) -> ml_collections.ConfigDict:
  """Returns a copy of a config that has another setting."""
  config = config.copy_and_resolve_references()
  with config.unlocked():
    config.compute_dtype = setting.compute_dtype
    config.microbatches = setting.microbatches
    if setting.rematerialize is not None:
      config.encoder.rematerialize = setting.rematerialize
    if setting.shards is None:
      config.parallelism = {'name': 'pmap'}
    elif config.parallelism.name == 'sharded':
      config.parallelism.shards = setting.shards  # What else it says stays.
    else:
      config.parallelism = {'name': 'sharded', 'shards': setting.shards}
  return config


def flags_of(setting: Setting, own: Setting) -> list[str]:
  """Returns the flags that make a config have a setting.

  Args:
    setting: to have.
    own: what the config has by itself; what agrees is left out.
  """
  flags = []
  if setting.compute_dtype != own.compute_dtype:
    flags.append(f'--config.compute_dtype={setting.compute_dtype}')
  if setting.rematerialize != own.rematerialize:
    flags.append(f'--config.encoder.rematerialize={setting.rematerialize}')
  if setting.shards is None and own.shards is not None:
    flags.append('--config.parallelism.name=pmap')
  if setting.shards is not None and setting.shards != own.shards:
    flags.append('--config.parallelism.name=sharded')
    flags.append(f'--config.parallelism.shards={setting.shards}')
  if setting.microbatches != own.microbatches:
    flags.append(f'--config.microbatches={setting.microbatches}')
  return flags


def families(own: Setting, shards: int, *, takes_dtypes: bool) -> list[Setting]:
  """Returns the settings to try, each with one microbatch; the fastest first.

  Args:
    own: of the config. Its dtype is tried with its rematerialisation only.
    shards: devices that may divide a state among them.
    takes_dtypes: whether the model can compute in bfloat16.
  """
  dtype = 'bfloat16' if takes_dtypes else own.compute_dtype
  forms = [None] if own.rematerialize is None else list(REMATERIALIZATIONS)
  ways = [None, shards] if shards > 1 else [None]
  every = [Setting(dtype, form, way, 1) for form in forms for way in ways]
  if own.compute_dtype != dtype:
    every.append(Setting(own.compute_dtype, own.rematerialize, None, 1))
  return sorted(every, key=score)


def score(setting: Setting) -> float:
  """Returns about how long a step takes, in an arbitrary unit."""
  return (
    _WORK[setting.rematerialize]
    * (_FLOAT32 if setting.compute_dtype == 'float32' else 1.0)
    * (1.0 if setting.shards is None else _SHARDED)
    * _DOUBLED ** math.log2(setting.microbatches)
  )


def search(
  settings: Iterable[Setting],
  microbatches: Sequence[int],
  memory_of: Callable[[Setting], Memory],
  seconds_of: Callable[[Setting], tuple[Memory, float | None]],
  *,
  most_whole: int,
) -> list[Tried]:
  """Tries settings.

  Args:
    settings: whose microbatches do not matter; each is tried with the fewest
      that fit.
    microbatches: that may be, ascending.
    memory_of: what a setting needs; takes seconds.
    seconds_of: its memory anew, and the time of a step; takes minutes.
    most_whole: settings to ask `seconds_of` for at the most.

  Returns:
    What was tried: first what fits, the fastest first; then what was asked for
    its memory alone, in the order of `score`; then what does not fit.
  """
  known: dict[Setting, Memory] = {}

  def ask(setting: Setting) -> Memory:
    if setting not in known:
      known[setting] = memory_of(setting)
    return known[setting]

  found = [
    least
    for setting in settings
    if (least := _fewest(setting, microbatches, ask)) is not None
  ]
  times: dict[Setting, float | None] = {}
  for setting in _promising(found, most_whole):
    for more in _from(setting, microbatches):
      known[more], seconds = seconds_of(more)
      if known[more].fits:
        times[more] = seconds
        break
  tried = [
    Tried(setting, memory, times.get(setting))
    for setting, memory in known.items()
  ]
  return sorted(
    tried,
    key=lambda each: (
      not each.memory.fits,
      each.setting not in times,
      each.seconds or 0.0,
      score(each.setting),
    ),
  )


def possible_microbatches(examples: int) -> list[int]:
  """Returns the powers of two that divide a device's examples, ascending."""
  powers = itertools.takewhile(
    lambda n: n <= examples, (2**i for i in itertools.count())
  )
  return [n for n in powers if examples % n == 0]


def _fewest(
  setting: Setting,
  microbatches: Sequence[int],
  ask: Callable[[Setting], Memory],
) -> Setting | None:
  """The setting with the fewest microbatches that fit, by bisection."""
  low, high = 0, len(microbatches)  # What is below low does not fit; high does.
  while low < high:
    # Often one is enough; then the half of what is left.
    middle = low if not low else (low + high) // 2
    candidate = setting._replace(microbatches=microbatches[middle])
    if ask(candidate).fits:
      high = middle
    else:
      low = middle + 1
  if low == len(microbatches):
    return None
  return setting._replace(microbatches=microbatches[low])


def _promising(found: list[Setting], most: int) -> Iterator[Setting]:
  """The best of each rematerialisation in the best dtype, then of the rest."""
  ranked = sorted(found, key=score)
  first: dict[Any, Setting] = {}
  for setting in ranked:
    first.setdefault((setting.compute_dtype, setting.rematerialize), setting)
  rest = [setting for setting in ranked if setting not in first.values()]
  yield from itertools.islice([*first.values(), *rest], most)


def _from(setting: Setting, microbatches: Sequence[int]) -> Iterator[Setting]:
  """A setting, then with more microbatches, once."""
  place = microbatches.index(setting.microbatches)
  for number in microbatches[place : place + 2]:
    yield setting._replace(microbatches=number)
