"""A pointer over a program's own edit sites: where to edit.

A site row is int32 ``(first token, last token, kind)``. Kind 0 is padding. Row 0 is `stop` (kind 1).
"""

import math
from typing import Annotated

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from kelp.model.einsum import einsum


class SitePointer(eqx.Module):
    """Scores each site from the states at its first and last token and from its kind."""

    first: Annotated[Float[Array, "D E"], P("fsdp", "tensor")]
    last: Annotated[Float[Array, "D E"], P("fsdp", "tensor")]
    kind: Annotated[Float[Array, "kinds E"], P(None, "tensor")]
    score: Annotated[Float[Array, " E"], P("tensor")]
    dtype: str = eqx.field(static=True)

    @staticmethod
    def init(dim: int, site_kinds: int, pointer_dim: int, dtype: str, *, key: PRNGKeyArray) -> "SitePointer":
        first, last, kind, score = jax.random.split(key, 4)
        D, E = dim, pointer_dim
        return SitePointer(
            first=jax.random.normal(first, (D, E)) / math.sqrt(2 * D),
            last=jax.random.normal(last, (D, E)) / math.sqrt(2 * D),
            kind=jax.random.normal(kind, (site_kinds, E)),
            score=jax.random.normal(score, (E,)) / math.sqrt(E),
            dtype=dtype,
        )

    @jax.named_scope("pointer")
    def __call__(self, hidden: Float[Array, "B P D"], sites: Int[Array, "B N 3"]) -> Float[Array, "B N"]:
        """Log-probabilities over exactly the rows with kind > 0; -inf on padding rows."""
        # Projected before the gather: a program has more sites than tokens.
        first = einsum("bpd,de->bpe", hidden, self.first, self.dtype)
        last = einsum("bpd,de->bpe", hidden, self.last, self.dtype)
        state = (
            jnp.take_along_axis(first, sites[..., 0, None], axis=1)
            + jnp.take_along_axis(last, sites[..., 1, None], axis=1)
            + self.kind[sites[..., 2]]
        )
        scores = jnp.einsum("bne,e->bn", jax.nn.silu(state), self.score)
        return jax.nn.log_softmax(scores, axis=-1, where=sites[..., 2] > 0)


def site_loss(log_probs: Float[Array, "B N"], target: Bool[Array, "B N"]) -> Float[Array, " B"]:
    """Minus the log of the total probability of all correct sites."""
    return -jax.nn.logsumexp(log_probs, axis=-1, where=target)
