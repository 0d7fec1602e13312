"""Plan of a run: its step compiled for a mesh of devices that are not there, and what it would take on each.

Nothing is allocated and nothing runs: weights and batches are shapes alone. XLA's compiler for the CPU partitions the
step as that of an accelerator does, but fuses and schedules in its own way, so that the memory of temporary arrays is
an estimate from above.
"""

import math
import re
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from kelp.model.leaves import named_leaves
from kelp.model.placement import BATCH
from kelp.training.config import RunConfig
from kelp.training.loop import jit_step, plan_state
from kelp.training.objective import Batch, Objective
from kelp.training.sharding import within
from kelp.training.step import loss_key

WIDTHS = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}
KINDS = "all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute"


@dataclass(frozen=True)
class Chip:
    """Peaks of a device: bfloat16 operations a second, bytes of memory, bytes a second to other devices."""

    flops: float
    memory: float
    network: float


CHIPS = {  # the makers' data sheets; network: all links of a chip in one direction
    "v4": Chip(275e12, 32 * 2**30, 300e9),
    "v5p": Chip(459e12, 95 * 2**30, 600e9),
    "h100": Chip(989e12, 80e9, 450e9),
}


@dataclass(frozen=True)
class Collectives:
    """Collectives of one kind in a step, as one device takes part in them."""

    count: int = 0
    bytes: int = 0  # of the results


@dataclass(frozen=True)
class Plan:
    """Figures of one step. Bytes are those of one device."""

    mesh: dict[str, int]
    parameters: int
    state_bytes: int  # weights, moments, averages
    batch_bytes: int
    temporary_bytes: int  # at the peak: activations, gradients
    model_flops: float  # of all devices: three times those of the loss's matrix products
    step_flops: float  # of all devices, with all that is computed again for the gradient
    collectives: dict[str, Collectives]

    @property
    def bytes(self) -> int:
        return self.state_bytes + self.batch_bytes + self.temporary_bytes

    def seconds(self, chip: Chip) -> tuple[float, float]:
        """Seconds of a step for the matrix products at the chip's peak, and for the collectives at its network's."""
        devices = int(np.prod(list(self.mesh.values())))
        sent = sum(2 * c.bytes if kind == "all-reduce" else c.bytes for kind, c in self.collectives.items())
        return self.step_flops / devices / chip.flops, sent / chip.network

    def mfu(self, chip: Chip) -> tuple[float, float]:
        """Bounds of the share of the peak that the model's own products reach.

        The low one lets communication wait for computation and the high one hides it. Neither counts the time for
        anything but products and collectives.
        """
        compute, network = self.seconds(chip)
        best = self.model_flops / self.step_flops
        return best * compute / (compute + network), best * compute / max(compute, network)

    def to_dict(self, chip: Chip) -> dict[str, Any]:
        """JSON."""
        low, high = self.mfu(chip)
        compute, network = self.seconds(chip)
        derived = {"bytes": self.bytes, "compute_seconds": compute, "network_seconds": network, "mfu": [low, high]}
        return asdict(self) | derived


def plan_step(config: RunConfig, objective: Objective, batch: Batch, mesh: Mesh) -> Plan:
    """Compile the step on a mesh for a whole batch, given by its shapes. Raises ConfigError, TrainingError."""
    _, state = plan_state(config, objective, mesh)
    parts = mesh.shape["data"] * mesh.shape["fsdp"]

    def place(leaf: Any) -> jax.ShapeDtypeStruct:
        rows = -(-leaf.shape[0] // parts) * parts  # as empty rows fill it up
        return jax.ShapeDtypeStruct((rows, *leaf.shape[1:]), leaf.dtype, sharding=NamedSharding(mesh, P(BATCH)))

    placed = jax.tree.map(place, batch)
    step = jit_step(config, objective, mesh, state)
    traced = within(mesh, step.trace)(state, placed)
    forward = within(mesh, jax.make_jaxpr(lambda m, b: objective.loss(m, b, loss_key(0, 0))[0]))(state.model, placed)
    compiled = traced.lower().compile()
    memory = compiled.memory_analysis()
    return Plan(
        mesh=dict(mesh.shape),
        parameters=sum(leaf.size for leaf in named_leaves(state.model).values()),
        state_bytes=_local_bytes(state),
        batch_bytes=_local_bytes(placed),
        temporary_bytes=memory.temp_size_in_bytes,
        model_flops=3 * product_flops(forward.jaxpr),
        step_flops=product_flops(traced.jaxpr.jaxpr),
        collectives=count_collectives(compiled.as_text()),
    )


def product_flops(jaxpr: Any) -> float:
    """Operations of the matrix products in a program, those of loops as often as they run."""
    total = 0.0
    for equation in jaxpr.eqns:
        times = 1
        if equation.primitive.name == "dot_general":
            (left, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            total += 2 * equation.outvars[0].aval.size * float(np.prod([shape[i] for i in left], dtype=float))
        elif equation.primitive.name == "scan":
            times = equation.params["length"]
        elif equation.primitive.name == "shard_map":  # its shapes are those of one device
            split = equation.params.get("newly_manual_axes") or equation.params["manual_axes"]  # its name in other JAX
            times = math.prod(equation.params["mesh"].shape[name] for name in split)
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    total += times * product_flops(inner)
    return total


def count_collectives(hlo: str) -> dict[str, Collectives]:
    """Collectives in the text of a compiled program, by kind, those of loops as often as they run."""
    found: dict[str, list[tuple[str, int]]] = {}  # by computation: kind and bytes of each
    calls: dict[str, list[tuple[str, int]]] = {}  # by computation: those it calls, and how often
    entry = here = ""
    for line in hlo.splitlines():
        if head := re.match(r"(ENTRY )?%?([\w.\-]+) .*\{$", line):
            here = head[2]
            entry = here if head[1] else entry
            found[here], calls[here] = [], []
        elif match := re.search(rf"= (.*?) ({KINDS})(?:-start)?\(", line):
            found[here].append((match[2], sum(map(_size, re.findall(r"(\w+)\[([\d,]*)\]", match[1])))))
        else:
            trips = re.search(r'"known_trip_count":\{"n":"(\d+)"', line)
            for name in re.findall(r"(?:body|to_apply|calls|true_computation|false_computation)=%?([\w.\-]+)", line):
                calls[here].append((name, int(trips[1]) if trips else 1))
    counts, sizes = Counter[str](), Counter[str]()

    def walk(computation: str, times: int) -> None:
        for kind, size in found.get(computation, ()):
            counts[kind] += times
            sizes[kind] += times * size
        for name, more in calls.get(computation, ()):
            walk(name, times * more)

    walk(entry, 1)
    return {kind: Collectives(counts[kind], sizes[kind]) for kind in sorted(counts)}


def _size(shape: tuple[str, str]) -> int:
    """Bytes of an array, from its type and its dimensions."""
    return WIDTHS.get(shape[0], 0) * math.prod(int(size) for size in shape[1].split(",") if size)


def _local_bytes(tree: Any) -> int:
    return sum(
        int(np.prod(leaf.sharding.shard_shape(leaf.shape))) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree)
    )
