"""Perceiver in JAX and Haiku: modules of arrays in, arrays out.

Whole models are in `perceiver_jax.models`; `encoder`, `preprocessors`,
`position_encoding` and `decoder` hold the parts they are wired from.
"""
