"""Strict settings for all tests."""

import jax

# A silent broadcast over a missing axis is the commonest shape bug.
jax.config.update('jax_numpy_rank_promotion', 'raise')
