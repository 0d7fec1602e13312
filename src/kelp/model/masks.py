"""Attention masks, from which tokens are valid or which segment each is of.

A mask is bool ``[B, S, S]``: ``mask[b, q, t]`` is true where query ``q`` attends to token ``t``. No query attends to
padding. A query that attends to nothing, as in a padding row, gets finite values.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int


def causal(valid: Bool[Array, "B S"]) -> Bool[Array, "B S S"]:
    """Every token attends to itself and to the valid tokens before it."""
    length = valid.shape[1]
    return jnp.tril(jnp.ones((length, length), bool)) & valid[:, None, :]


def prefix(segments: Int[Array, "B S"], *, causal: bool = False) -> Bool[Array, "B S S"]:
    """All tokens attend to the prefix, segment 1; every other segment also to itself, causally. 0 is padding.

    With `causal`, a token of the prefix attends to those up to itself alone.
    """
    query, token = jnp.arange(segments.shape[1])[:, None], jnp.arange(segments.shape[1])[None, :]
    own = (token <= query) & (segments[:, :, None] == segments[:, None, :])
    to_prefix = (segments == 1)[:, None, :] & ((token <= query) if causal else True)
    return (to_prefix | own) & (segments != 0)[:, None, :]
