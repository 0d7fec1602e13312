"""Sharding of activations over the mesh that training sets; elsewhere, as in a repair, there is none and no effect."""

import math

import jax
from jax.sharding import PartitionSpec as P
from jaxtyping import Array

BATCH = ("data", "fsdp")  # mesh axes that examples go over


def split(x: Array, *axes: str | tuple[str, ...] | None) -> Array:
    """`x` with its dimensions split over these axes of the mesh, but for an axis that does not divide its dimension."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return x

    def parts(axis: str | tuple[str, ...]) -> int:
        return math.prod(mesh.shape[name] for name in ((axis,) if isinstance(axis, str) else axis))

    spec = P(*(axis if axis and size % parts(axis) == 0 else None for axis, size in zip(axes, x.shape)))
    constrained: Array = jax.lax.with_sharding_constraint(x, spec)
    return constrained
