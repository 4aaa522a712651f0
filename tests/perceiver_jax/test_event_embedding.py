"""Events as elements: positions, neighbours and statistics, against numpy."""

import haiku as hk
import jax
import numpy as np
import pytest

from perceiver_jax.event_embedding import (
  EventEmbedding,
  neighbours,
  states,
)

E, R, K = 12, 3, 4
RESOLUTION = 10.0


def events(seed=0, batch=2):
  rng = np.random.default_rng(seed)
  return {
    'time': np.sort(rng.uniform(-1, 1, (batch, E))).astype(np.float32),
    'channel': rng.integers(0, R, (batch, E)).astype(np.int32),
    'value': rng.standard_normal((batch, E)).astype(np.float32),
  }


@pytest.fixture(scope='module')
def embed():
  def forward(raw):
    return EventEmbedding(
      num_rows=R,
      num_channels=8,
      num_bands=K,
      max_resolution=RESOLUTION,
    )(raw)

  model = hk.without_apply_rng(hk.transform(forward))
  params = model.init(jax.random.key(0), events())
  # Matrices that show each feature by itself.
  return params, jax.jit(model.apply)


def own_of(embed, raw, channel, feature):
  """What the elements know of a feature: its weights alone are not zero."""
  params, apply = embed
  chosen = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), params)
  name, number = feature
  chosen['event_embedding'][name][channel, number, 0] = 1.0
  return np.asarray(apply(chosen, raw).features[..., 0])


def test_positions_are_sines_and_cosines_of_the_times(embed):
  raw = events()
  params, apply = embed
  found = np.asarray(apply(params, raw).positions)
  time = raw['time'].astype(np.float64)[..., None]
  angles = np.pi * np.linspace(1.0, RESOLUTION / 2, K) * time
  expected = np.concatenate([time, np.sin(angles), np.cos(angles)], axis=-1)
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_bands_can_be_logarithmic():
  raw = events()

  def forward(raw):
    return EventEmbedding(
      num_rows=R,
      num_channels=8,
      num_bands=3,
      max_resolution=32.0,
      spacing='log',
      context=False,
    )(raw)

  model = hk.without_apply_rng(hk.transform(forward))
  made = model.apply(model.init(jax.random.key(0), raw), raw)
  angles = np.pi * np.array([1.0, 4.0, 16.0]) * raw['time'][..., None]
  np.testing.assert_allclose(
    made.positions[..., 1:4], np.sin(angles), atol=1e-5
  )
  # Without context an event says its channel, and its value, and that is all.
  rows = model.init(jax.random.key(0), raw)['event_embedding']['own']
  channel, value = raw['channel'], raw['value'][..., None]
  expected = rows[channel, 0] + value * rows[channel, 1]
  np.testing.assert_allclose(made.features, expected, atol=1e-6)


def test_an_event_says_its_value_by_the_weights_of_its_channel(embed):
  raw = events()
  found = own_of(embed, raw, 1, ('own', 1))
  expected = np.where(raw['channel'] == 1, raw['value'], 0.0)
  np.testing.assert_allclose(found, expected, atol=1e-6)


def test_neighbours_are_those_of_the_same_channel():
  raw = events()
  gap = 0.2
  found = np.asarray(neighbours(*raw.values(), gap=gap))
  for b in range(2):
    for i in range(E):
      time, channel, value = (x[b].astype(np.float64) for x in raw.values())
      same = [j for j in range(E) if channel[j] == channel[i]]
      for sign, half in ((-1, found[b, i, :4]), (1, found[b, i, 4:])):
        others = [j for j in same if sign * (time[j] - time[i]) > 0]
        if not others:
          assert not half.any()
          continue
        j = min(others, key=lambda j: abs(time[j] - time[i]))
        change = sign * (value[j] - value[i])
        distance = abs(time[j] - time[i]) / gap
        expected = [1, change, np.log1p(distance), change / (1 + distance)]
        np.testing.assert_allclose(half, expected, atol=1e-5)


def test_states_are_interpolated_by_each_channels_own_clock():
  raw = events()
  raw['channel'][1] = 1  # The others have none.
  raw['time'][0, 3] = raw['time'][0, 2]
  raw['channel'][0, 2:4] = [1, 0]
  order = np.random.default_rng(3).permutation(E)
  shuffled = {name: x[:, order] for name, x in raw.items()}
  gap = 0.2
  found = np.asarray(states(*shuffled.values(), num_rows=R, gap=gap))
  for b in range(2):
    time, channel, value = (x[b].astype(np.float64) for x in raw.values())
    for r in range(R):
      own = channel == r
      values, near = found[b, :, r], found[b, :, R + r]
      if not own.any():
        assert not values.any()
        assert not near.any()
        continue
      expected = np.interp(time, time[own], value[own])
      np.testing.assert_allclose(values, expected[order], atol=1e-5)
      away = np.abs(time[:, None] - time[own]).min(axis=1)
      np.testing.assert_allclose(near, 1 / (1 + away[order] / gap), atol=1e-5)


def test_statistics_are_those_of_numpy(embed):
  raw = events()
  time, channel, value = (x[0].astype(np.float64) for x in raw.values())
  for r in range(R):
    own, at = value[channel == r], time[channel == r]
    waves = [
      np.mean((own - own.mean()) * np.exp(1j * np.pi * band * at))
      for band in np.linspace(1.0, RESOLUTION / 2, K)
    ]
    # The first event has none before it.
    change = np.abs(np.diff(own)).sum() / len(own)
    expected = [
      np.log1p(len(own)),
      *(own.mean(), own.std(), own.min(), own.max(), change),
      *(np.log(np.square(np.abs(waves)) + 1e-4) / 4),
    ]
    for number, each in enumerate(expected):
      found = own_of(embed, raw, r, ('whole', number))[0]
      wanted = np.where(channel == r, each, 0.0)
      np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_sine_has_a_quarter_of_the_square_of_its_amplitude(embed):
  # As many events as there are between -1 and 1, once around at each band.
  time = np.linspace(-1, 1, E, endpoint=False, dtype=np.float32)[None]
  raw = {
    'time': time,
    'channel': np.zeros((1, E), np.int32),
    'value': 0.6 * np.sin(np.pi * time),
  }
  (found, *_) = own_of(embed, raw, 0, ('whole', 6))[0]
  np.testing.assert_allclose(np.exp(4 * found) - 1e-4, 0.6**2 / 4, rtol=1e-4)


def test_the_order_of_events_is_that_of_the_elements(embed):
  raw = events()
  # Two at one time, too.
  raw['time'][:, 5] = raw['time'][:, 4]
  raw['channel'][:, 5] = raw['channel'][:, 4]
  order = np.random.default_rng(1).permutation(E)
  params, apply = embed
  expected = apply(params, raw)
  found = apply(params, {name: x[:, order] for name, x in raw.items()})
  for ours, theirs in zip(found, expected, strict=True):
    np.testing.assert_allclose(ours, theirs[:, order], atol=1e-5)


def test_padding_changes_nothing_whatever_stands_there(embed):
  raw = events()
  params, apply = embed
  few = {name: x[:, :7] for name, x in raw.items()}
  padded = {name: x.copy() for name, x in raw.items()}
  padded['channel'][:, 7:] = -1
  padded['value'][:, 7:] = np.nan
  expected, found = apply(params, few), apply(params, padded)
  np.testing.assert_array_equal(found.mask, np.arange(E) < [[7], [7]])
  np.testing.assert_allclose(
    found.features[:, :7], expected.features, atol=1e-6
  )
  assert not np.asarray(found.features[:, 7:]).any()


def test_an_unknown_channel_is_seen_in_the_outputs(embed):
  raw = events()
  raw['channel'][0, 3] = R
  params, apply = embed
  made = apply(params, raw)
  assert np.isnan(made.features[0]).any()
  assert np.isfinite(made.features[1]).all()


def test_gradients_are_finite_where_nothing_varies(embed):
  params, apply = embed
  raw = {name: x[:1, :1] * 0 for name, x in events().items()}

  def loss(params):
    return np.float32(1.0) * apply(params, raw).features.sum()

  for each in jax.tree.leaves(jax.grad(loss)(params)):
    assert np.isfinite(each).all()
