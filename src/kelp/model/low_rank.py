"""Low-rank adapters (LoRA; Hu et al. 2021, arXiv 2106.09685): a frozen matrix and the product of two thin ones.

Letters: I axes that a projection maps from, O axes that it maps to, R rank.
"""

from collections.abc import Collection, Mapping
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, PRNGKeyArray

from kelp.model.llama import input_axes

BASE, A, B = ".base", ".a", ".b"  # suffixes of the names of an adapted projection's leaves
Projection = Literal["query", "key", "value", "out", "gate", "up", "down"]
PROJECTIONS: tuple[Projection, ...] = get_args(Projection)


class LowRank(eqx.Module):
    """Weights `base + scale * a b` of a projection. Training updates only `a` and `b`."""

    base: Float[Array, "..."]  # [*I, *O]
    a: Float[Array, "*I R"]
    b: Float[Array, "R *O"]
    scale: float = eqx.field(static=True)

    @property
    def inputs(self) -> int:
        """Number of axes that the projection maps from."""
        return self.a.ndim - 1

    def partition(self, leaf: str, spec: P) -> P:
        """Return the partition of a leaf, `base`, `a` or `b`, of a projection with `spec`: the rank stays whole."""
        axes = (*spec, *(None,) * (self.base.ndim - len(spec)))
        return {"base": spec, "a": P(*axes[: self.inputs], None), "b": P(None, *axes[self.inputs :])}[leaf]


def adapt(model: Any, projections: Collection[str], *, rank: int, alpha: float, key: PRNGKeyArray) -> Any:
    """Return `model` with an adapter around each projection of these names in its blocks; its outputs are the same.

    `a` is normal with variance 1 / inputs and `b` is zero; the scale is alpha / rank.
    """

    def adapter(path: tuple[Any, ...], leaf: Array) -> Any:
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        inputs = input_axes(name)
        if not inputs or name.rpartition(".")[2] not in projections:
            return leaf
        ins, outs = leaf.shape[:inputs], leaf.shape[inputs:]
        nonlocal key
        key, own = jax.random.split(key)
        a = jax.random.normal(own, (*ins, rank)) / np.sqrt(np.prod(ins))
        return LowRank(leaf, a, jnp.zeros((rank, *outs)), alpha / rank)

    return jax.tree_util.tree_map_with_path(adapter, model)


def without_adapters(model: Any) -> Any:
    """Return the frozen model without its adapters."""
    return jax.tree.map(lambda leaf: leaf.base if _adapted(leaf) else leaf, model, is_leaf=_adapted)


def merged(weights: Mapping[str, np.ndarray], scale: float) -> dict[str, np.ndarray]:
    """Return weights by name, with each adapter added to its projection, under the projection's own name."""

    def entry(name: str, array: np.ndarray) -> tuple[str, np.ndarray]:
        if not name.endswith(BASE):
            return name, array
        own = name.removesuffix(BASE)
        return own, np.asarray(array) + scale * np.tensordot(weights[own + A], weights[own + B], 1)

    adapters = {name.removesuffix(BASE) + end for name in weights if name.endswith(BASE) for end in (A, B)}
    return dict(entry(name, array) for name, array in weights.items() if name not in adapters)


def _adapted(leaf: Any) -> bool:
    return isinstance(leaf, LowRank)
