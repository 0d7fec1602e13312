"""Sharding of activations over the mesh that training sets; elsewhere, as in a repair, there is none and no effect."""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
from jaxtyping import Array

BATCH = ("data", "fsdp")  # mesh axes that examples go over


def split(x: Array, *axes: str | tuple[str, ...] | None) -> Array:
    """`x` with its dimensions split over these axes of the mesh, but for an axis that does not divide its dimension."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return x

    by_hand = {name for name, kind in zip(mesh.axis_names, mesh.axis_types) if kind == AxisType.Manual}

    def divides(axis: str | tuple[str, ...], size: int) -> bool:
        names = (axis,) if isinstance(axis, str) else axis
        return by_hand.isdisjoint(names) and size % math.prod(mesh.shape[name] for name in names) == 0

    spec = P(*(axis if axis and divides(axis, size) else None for axis, size in zip(axes, x.shape)))
    constrained: Array = jax.lax.with_sharding_constraint(x, spec)
    return constrained


def on_own_rows(function: Callable[..., Any], weights: Array, *rows: Array) -> Any:
    """`function(weights, *rows)`, which treats every row alike, by each device on its own rows.

    The weights are gathered and their gradient is summed over the devices once, even where `function` uses them in a
    loop: left to itself, the compiler does both anew in every turn.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or any(len(x) % math.prod(mesh.shape[name] for name in BATCH) for x in rows):
        return function(weights, *rows)

    def own(weights: Array, *rows: Array) -> Any:
        return function(jax.lax.pcast(weights, BATCH, to="varying"), *rows)

    specs = (P(), *(P(BATCH) for _ in rows))
    return jax.shard_map(own, in_specs=specs, out_specs=P(BATCH), axis_names=set(BATCH))(weights, *rows)
