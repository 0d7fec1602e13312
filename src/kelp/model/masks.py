"""Attention masks, from which tokens are valid or which segment each is of.

A mask is bool ``[B, S, S]``: ``mask[b, q, t]`` says that query ``q`` sees token ``t``. Padding is never
seen. Attention stays finite for a query that sees nothing, as a padding row may.
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


def prefix(segments: Int[Array, "B S"]) -> Bool[Array, "B S S"]:
    """All see the prefix, which is segment 1; any other segment sees itself too, causally. 0 is padding."""
    query, token = jnp.arange(segments.shape[1])[:, None], jnp.arange(segments.shape[1])[None, :]
    own = (token <= query) & (segments[:, :, None] == segments[:, None, :])
    return ((segments == 1)[:, None, :] | own) & (segments != 0)[:, None, :]
