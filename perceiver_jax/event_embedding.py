"""Events: values of channels at any times, each an element of its own.

Shapes: B batch, E events of an example, R channels that there are, K frequency
bands, F features of an event, C channels of an element.
"""

import dataclasses
from collections.abc import Mapping

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.byte_array import ByteArray
from perceiver_jax.layers import Linear
from perceiver_jax.position_encoding import fourier_features

_LEAST_POWER = 1e-4
# The logarithm of the power is multiplied by it, to be of about unit size.
_POWER_SCALE = 0.25


def neighbours(
  time: jax.Array, channel: jax.Array, value: jax.Array, *, gap: float
) -> jax.Array:
  """What the same channel had just before each event, and has just after.

  Args:
    time: `[B, E]`, in any order.
    channel: `[B, E]` int.
    value: `[B, E]`.
    gap: that is usual between events of a channel, in the unit of the times.

  Returns:
    `[B, E, 8]`, of the event before, then of the one after: 1 where there is
    one; the change of the value from the earlier event to the later; ln(1 + g),
    g being their distance in usual gaps; and the change divided by 1 + g. Zeros
    where there is none.
  """
  places = jnp.broadcast_to(jnp.arange(time.shape[1]), time.shape)
  # Of two values at one time the order is that of the values.
  channel, time, value, order = jax.lax.sort(
    (channel, time, value, places), dimension=1, num_keys=3
  )
  same = channel[:, 1:] == channel[:, :-1]
  change = value[:, 1:] - value[:, :-1]
  distance = (time[:, 1:] - time[:, :-1]) / gap
  steps = jnp.stack(
    [
      jnp.ones_like(change),
      change,
      jnp.log1p(distance),
      change / (1.0 + distance),
    ],
    axis=-1,
  )
  steps = jnp.where(same[..., None], steps, 0.0)  # [B, E - 1, 4]
  before = jnp.pad(steps, ((0, 0), (1, 0), (0, 0)))
  after = jnp.pad(steps, ((0, 0), (0, 1), (0, 0)))
  found = jnp.concatenate([before, after], axis=-1)
  back = jnp.argsort(order, axis=1)
  return jnp.take_along_axis(found, back[..., None], axis=1)


def states(
  time: jax.Array,
  channel: jax.Array,
  value: jax.Array,
  *,
  num_rows: int,
  gap: float,
) -> jax.Array:
  """What is known of all channels at the time of each event.

  Args:
    time: `[B, E]`, in any order.
    channel: `[B, E]` int; negative where there is no event.
    value: `[B, E]`.
    num_rows: R.
    gap: see `neighbours`.

  Returns:
    `[B, E, 2 R]`: values, linear between the event before and the one after,
    and those of the first and the last beyond them; then 1 / (1 + g), g being
    the distance of the nearest event in usual gaps. Zeros of a channel that has
    no event.
  """
  places = jnp.broadcast_to(jnp.arange(time.shape[1]), time.shape)
  # Padding has no time.
  time = jnp.where(channel >= 0, time, jnp.inf)
  time, channel, value, order = jax.lax.sort(
    (time, channel, value, places), dimension=1, num_keys=3
  )
  end = time.shape[1]
  here = channel[..., None] == jnp.arange(num_rows)[None, None]  # [B, E, R]
  place = places[..., None]
  first = jax.lax.cummax(jnp.where(here, place, -1), axis=1)
  second = jax.lax.cummin(jnp.where(here, place, end), axis=1, reverse=True)
  has_first, has_second = first >= 0, second < end

  def at(x: jax.Array, places: jax.Array) -> jax.Array:
    places = jnp.clip(places, 0, end - 1)
    rows = jnp.arange(len(x))[:, None, None]
    return x[rows, places]

  finite = jnp.where(channel >= 0, time, 0.0)
  before = jnp.where(has_first, finite[..., None] - at(finite, first), jnp.inf)
  after = jnp.where(has_second, at(finite, second) - finite[..., None], jnp.inf)
  whole = before + after
  between = has_first & has_second & (whole > 0)
  share = jnp.where(between, before, 0.0) / jnp.where(between, whole, 1.0)
  share = jnp.where(has_first, share, 1.0)
  values = (1.0 - share) * at(value, first) + share * at(value, second)
  values = jnp.where(has_first | has_second, values, 0.0)
  near = 1.0 / (1.0 + jnp.minimum(before, after) / gap)
  found = jnp.concatenate([values, near], axis=-1)
  back = jnp.argsort(order, axis=1)
  return jnp.take_along_axis(found, back[..., None], axis=1)


def channel_statistics(
  value: jax.Array,
  of_channel: jax.Array,
  turns: jax.Array,
  changes: jax.Array,
) -> jax.Array:
  """What each channel of an example is like as a whole.

  Args:
    value: `[B, E]`.
    of_channel: `[B, E, R]`, 1 for the channel of an event; zeros of padding.
    turns: `[B, E, 2 K]`: sines, then cosines of the times at K frequencies.
    changes: `[B, E]`, absolute change from the event before.

  Returns:
    `[B, R, 6 + K]`: ln(1 + count); mean and standard deviation; least and
    greatest value; mean change; and a quarter of the natural logarithm of the
    power of what is left without the mean, at each frequency. A sine of
    amplitude a has the power a^2 / 4 where it turns a whole number of times.
    Zeros of a channel that has no event.
  """
  count = of_channel.sum(axis=1)  # [B, R]
  least_one = jnp.maximum(count, 1.0)

  def mean(x: jax.Array) -> jax.Array:
    return jnp.einsum('ber,be->br', of_channel, x) / least_one

  middle = mean(value)
  # Of its own channel's mean.
  left = value - jnp.einsum('ber,br->be', of_channel, middle)
  weighted = of_channel * left[..., None]
  waves = jnp.einsum('ber,bek->brk', weighted, turns) / least_one[..., None]
  sines, cosines = jnp.split(waves, 2, axis=-1)
  power = jnp.square(sines) + jnp.square(cosines)
  known = of_channel > 0
  statistics = [
    jnp.log1p(count),
    middle,
    jnp.sqrt(mean(jnp.square(left))),
    jnp.where(known, value[..., None], jnp.inf).min(axis=1),
    jnp.where(known, value[..., None], -jnp.inf).max(axis=1),
    mean(changes),
  ]
  found = jnp.concatenate(
    [
      jnp.stack(statistics, axis=-1),
      _POWER_SCALE * jnp.log(power + _LEAST_POWER),
    ],
    axis=-1,
  )
  return jnp.where(count[..., None] > 0, found, 0.0)


@dataclasses.dataclass(kw_only=True)
class EventEmbedding(hk.Module):
  """Events as elements that know their channel, and what it is like around.

  Each channel has a linear layer of its own for what an event says: its value,
  how the channel has changed since the event before and will until the next
  (`neighbours`), and what the channel is like as a whole
  (`channel_statistics`); another, of all channels, is for what is known of the
  others at this time (`states`). Of values alone, what changes how fast, and
  what goes with what, has to be found by attention among all of them, which
  takes large data.

  Attributes:
    num_rows: R.
    num_channels: C, without positions.
    num_bands: K of the positions, see `fourier_features`.
    max_resolution: events of a channel from -1 to 1 of the times, at the usual
      distance; at least 2.
    spacing: of the bands, 'linear' or 'log'.
    context: whether events know neighbours, statistics, and other channels.
    name: Haiku name.
  """

  num_rows: int
  num_channels: int
  num_bands: int
  max_resolution: float
  spacing: str = 'linear'
  context: bool = True
  name: str | None = None

  def __call__(
    self, events: Mapping[str, jax.Array], *, is_training: bool = False
  ) -> ByteArray:
    """Embeds events, which may be in any order.

    Args:
      events: `time` `[B, E]` in about [-1, 1]; `channel` `[B, E]` int in [0,
        R), or -1 where there is no event; `value` `[B, E]` of about unit
        variance.
      is_training: not read.

    Returns:
      E inputs in the same order, `[B, E, C]`, with the Fourier features of
      their times as positions `[B, E, 2 K + 1]` and a mask.
    """
    del is_training
    channel = events['channel']
    there = channel >= 0
    time = jnp.where(there, events['time'], 0.0)
    value = jnp.where(there, events['value'], 0.0)
    positions = fourier_features(
      time[..., None],
      num_bands=self.num_bands,
      max_resolution=(self.max_resolution,),
      spacing=self.spacing,
    )
    # Zeros for padding, and NaN for a channel that there is not.
    of_channel = jax.nn.one_hot(channel, self.num_rows, dtype=value.dtype)
    of_channel = jnp.where(
      (channel < self.num_rows)[..., None], of_channel, jnp.nan
    )
    own = [jnp.ones_like(value)[..., None], value[..., None]]
    whole = None
    if self.context:
      around = neighbours(time, channel, value, gap=self._gap)
      own.append(around)
      whole = channel_statistics(
        value, of_channel, positions[..., 1:], jnp.abs(around[..., 1])
      )
    features = self._linear('own', jnp.concatenate(own, axis=-1), of_channel)
    if whole is not None:
      weights = self._weights('whole', whole.shape[-1])
      of_whole = jnp.einsum('brf,rfc->brc', whole, weights)
      features += jnp.einsum('ber,brc->bec', of_channel, of_whole)
      around = states(
        time, channel, value, num_rows=self.num_rows, gap=self._gap
      )
      others = Linear(output_channels=self.num_channels, name='states')
      features += jnp.where(there[..., None], others(around), 0.0)
    return ByteArray(features, positions, there)

  @property
  def _gap(self) -> float:
    return 2.0 / self.max_resolution

  @hk.transparent
  def _linear(
    self, name: str, features: jax.Array, of_channel: jax.Array
  ) -> jax.Array:
    """Maps features `[B, E, F]` by the weights of each event's channel."""
    weights = self._weights(name, features.shape[-1])
    spread = of_channel[..., None] * features[..., None, :]  # [B, E, R, F]
    spread = spread.reshape(*features.shape[:2], -1)
    return spread @ weights.reshape(-1, self.num_channels)

  @hk.transparent
  def _weights(self, name: str, num_features: int) -> jax.Array:
    return hk.get_parameter(
      name,
      (self.num_rows, num_features, self.num_channels),
      init=hk.initializers.TruncatedNormal(self.num_channels**-0.5),
    )
