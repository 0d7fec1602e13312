"""Sharding over a mesh (data, fsdp, tensor): one code path from one CPU to many hosts."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from kelp.model.leaves import named_leaves, with_leaves
from kelp.model.transformer import shardings
from kelp.training.objective import Batch

AXES = ("data", "fsdp", "tensor")
BATCH = P(("data", "fsdp"))


def make_mesh(data: int | None = None, fsdp: int = 1, tensor: int = 1) -> Mesh:
    """A mesh over the devices; `data` None takes all that are left. Raises ValueError if they are too few."""
    devices = jax.devices()
    if data is None:
        data = max(1, len(devices) // (fsdp * tensor))
    if data * fsdp * tensor > len(devices):
        raise ValueError(
            f"a mesh of data={data} x fsdp={fsdp} x tensor={tensor} needs {data * fsdp * tensor} devices, "
            f"and there are {len(devices)}"
        )
    # Compiler-placed collectives ("auto"): the model declares how weights are sharded, XLA derives the rest.
    return jax.make_mesh((data, fsdp, tensor), AXES, (AxisType.Auto,) * 3, devices=devices[: data * fsdp * tensor])


def pad_rows(batch: Batch, multiple: int, empty: Callable[[Batch, int], Batch]) -> Batch:
    """A batch with `empty(batch, rows)` added until its size is a multiple."""
    missing = -len(jax.tree.leaves(batch)[0]) % multiple
    return jax.tree.map(lambda *parts: np.concatenate(parts), batch, empty(batch, missing)) if missing else batch


def place_batch(batch: Batch, mesh: Mesh, empty: Callable[[Batch, int], Batch]) -> Batch:
    """A NumPy batch, the same on every host, as global arrays split over (data, fsdp); padded with `empty` to fit."""
    sharding = NamedSharding(mesh, BATCH)
    batch = pad_rows(batch, mesh.shape["data"] * mesh.shape["fsdp"], empty)
    return jax.tree.map(lambda a: jax.make_array_from_callback(a.shape, sharding, lambda index: a[index]), batch)


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
