"""Sharding over a mesh (data, fsdp, tensor): one code path from one CPU to many hosts."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from kelp.model.leaves import named_leaves, with_leaves
from kelp.model.placement import BATCH
from kelp.model.transformer import shardings
from kelp.training.objective import Batch
from kelp.training.part import Part

C = TypeVar("C", bound=Callable[..., Any])

AXES = ("data", "fsdp", "tensor")


def make_mesh(data: int | None = None, fsdp: int = 1, tensor: int = 1) -> Mesh:
    """A mesh over all devices; `data` None takes what the others leave. Raises ValueError where they do not fit."""
    devices = jax.devices()
    if data is None:
        data = max(1, len(devices) // (fsdp * tensor))
    if (wanted := data * fsdp * tensor) != len(devices):
        raise ValueError(
            f"a mesh of data={data} x fsdp={fsdp} x tensor={tensor} takes {wanted} devices, and there are "
            f"{len(devices)}"
        )
    # Compiler-placed collectives ("auto"): the model declares how weights are sharded, XLA derives the rest.
    return jax.make_mesh((data, fsdp, tensor), AXES, (AxisType.Auto,) * 3, devices=devices)


def own_part(mesh: Mesh) -> Part:
    """The part of each batch that this process makes: the rows that its devices hold."""
    blocks = np.arange(mesh.shape["data"] * mesh.shape["fsdp"]).reshape(mesh.shape["data"], mesh.shape["fsdp"], 1)
    own = np.vectorize(lambda device: device.process_index == jax.process_index())(mesh.devices)
    return Part(tuple(np.unique(np.broadcast_to(blocks, own.shape)[own]).tolist()), blocks.size)


def place_batch(batch: Batch, mesh: Mesh, part: Part) -> Batch:
    """This process's part of a batch as a part of global arrays, which are split over (data, fsdp)."""
    sharding = NamedSharding(mesh, P(BATCH))

    def place(rows: np.ndarray) -> jax.Array:
        size = len(rows) // len(part.numbers)
        at = {number * size: index * size for index, number in enumerate(part.numbers)}

        def block(index: Any) -> np.ndarray:
            start = at[index[0].start or 0]
            return rows[start : start + size]

        return jax.make_array_from_callback((size * part.parts, *rows.shape[1:]), sharding, block)

    return jax.tree.map(place, batch)


def within(mesh: Mesh, function: C) -> C:
    """The function, with the mesh as the one that its sharding constraints name."""

    @wraps(function)
    def call(*args: Any) -> Any:
        with jax.set_mesh(mesh):
            return function(*args)

    return cast(C, call)


def state_shardings(state: Any, mesh: Mesh) -> Any:
    """Sharding of each array of a (shape-only) TrainState: moments and moving averages have that of their weights."""
    replicated = NamedSharding(mesh, P())
    model = shardings(state.model, mesh)
    named = named_leaves(model)

    def place_moment(name: str) -> NamedSharding:
        """The sharding of the weight whose name ends the moment's."""
        parts = name.split(".")
        return next((named[n] for i in range(len(parts)) if (n := ".".join(parts[i:])) in named), replicated)

    moments = with_leaves(state.optimizer, {name: place_moment(name) for name in named_leaves(state.optimizer)})
    ema = None if state.ema is None else with_leaves(state.ema, named)
    return type(state)(replicated, model, moments, ema)
