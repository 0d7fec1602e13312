"""Attention masks: pure functions from which tokens are valid to who may see whom.

A mask is bool ``[B, S, S]``: ``mask[b, q, t]`` says that query ``q`` sees token ``t``. Padding is never
seen. A query that sees nothing (a padding row may) is left to attention, which stays finite there.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int


def causal(valid: Bool[Array, "B S"]) -> Bool[Array, "B S S"]:
    """Every token sees itself and the valid tokens before it."""
    length = valid.shape[1]
    return jnp.tril(jnp.ones((length, length), bool)) & valid[:, None, :]


def bidirectional(valid: Bool[Array, "B S"]) -> Bool[Array, "B S S"]:
    """Every token sees every valid token."""
    return jnp.broadcast_to(valid[:, None, :], (*valid.shape, valid.shape[1]))


def prefix(prefix_valid: Bool[Array, "B P"], segments: Int[Array, "B T"]) -> Bool[Array, "B S S"]:
    """The prefix sees all of the prefix; a segment of the suffix sees the prefix and, causally, itself (S = P + T).

    `segments` numbers the segment of each suffix token; 0 is padding.
    """
    B, P = prefix_valid.shape
    segment = jnp.concatenate([jnp.zeros((B, P), int), segments], axis=1)
    valid = jnp.concatenate([prefix_valid, segments > 0], axis=1)
    query, token = jnp.arange(segment.shape[1])[:, None], jnp.arange(segment.shape[1])[None, :]
    own = (query >= P) & (token <= query) & (segment[:, :, None] == segment[:, None, :])
    return ((token < P) | own) & valid[:, None, :]
