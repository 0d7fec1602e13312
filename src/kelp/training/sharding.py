"""From one CPU to many hosts in one code path: the mesh (data, fsdp, tensor), and what lies where on it."""

from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from kelp.model.leaves import named_leaves, with_leaves
from kelp.model.transformer import shardings

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
    # Compiler-placed collectives ("auto"): the model names where weights lie, XLA derives the rest.
    return jax.make_mesh((data, fsdp, tensor), AXES, (AxisType.Auto,) * 3, devices=devices[: data * fsdp * tensor])


def pad_rows(batch: Any, multiple: int) -> Any:
    """A batch with empty examples added until its size is a multiple.

    An empty example has no prefix, and `stop` as its one site and answer: it adds nothing to the loss.
    """
    missing = -len(batch.tokens) % multiple
    if not missing:
        return batch

    empty = {name: np.zeros((missing, *array.shape[1:]), array.dtype) for name, array in batch._asdict().items()}
    empty["sites"][:, 0, 2] = 1
    empty["site_target"][:, 0] = True
    empty["targets"][:] = -1
    return type(batch)(*(np.concatenate([array, empty[name]]) for name, array in batch._asdict().items()))


def place_batch(batch: Any, mesh: Mesh) -> Any:
    """A numpy batch, the same on every host, as global arrays split over (data, fsdp)."""
    sharding = NamedSharding(mesh, BATCH)
    batch = pad_rows(batch, mesh.shape["data"] * mesh.shape["fsdp"])
    return jax.tree.map(lambda a: jax.make_array_from_callback(a.shape, sharding, lambda index: a[index]), batch)


def state_shardings(state: Any, mesh: Mesh) -> Any:
    """Where each array of a (shape-only) TrainState lies: moments and averages lie with their weights."""
    replicated = NamedSharding(mesh, P())
    model = shardings(state.model, mesh)
    named = named_leaves(model)

    def place_moment(name: str) -> NamedSharding:
        """That of the weight whose name ends the moment's."""
        parts = name.split(".")
        return next((named[n] for i in range(len(parts)) if (n := ".".join(parts[i:])) in named), replicated)

    moments = with_leaves(state.optimizer, {name: place_moment(name) for name in named_leaves(state.optimizer)})
    return type(state)(replicated, model, moments, None if state.average is None else model)
